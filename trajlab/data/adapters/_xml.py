"""XML that may come from anywhere: read as a stream, without document types and so without entities that expand."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.parsers import expat

__all__ = ["elements", "opened", "parsed", "root_name"]


class _Found(Exception):
    """Raised by the scan of the head when the first element begins."""


def opened(path: Path) -> Any:
    """The bytes of a file that may be compressed.

    Raises:
        FileNotFoundError: there is no such file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")


def root_name(path: Path) -> str:
    """The name of the root element; a document type definition before it is refused, as it may define entities.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no XML, or it has a document type definition.
    """
    parser, found = expat.ParserCreate(), []

    def element(name: str, _: object) -> None:
        found.append(name)
        raise _Found

    def doctype(*_: object) -> None:
        raise ValueError(f"{path} has a document type definition (<!DOCTYPE ...>), which can define entities that expand without end; it is not "
                         "read. Files of traffic need none: remove it")

    parser.StartElementHandler, parser.StartDoctypeDeclHandler = element, doctype
    try:
        with opened(path) as file:
            parser.ParseFile(file)
    except _Found:
        pass
    except (expat.ExpatError, EOFError, gzip.BadGzipFile) as error:
        raise ValueError(f"{path} is no XML ({error})") from error
    return found[0].rpartition(":")[2]


def elements(path: Path, root: str, tag: str) -> Iterator[ElementTree.Element]:
    """Every element of a name below the root, one after the other, each forgotten after use.

    Raises:
        ValueError: the root has another name, or the file is cut short; the line is told.
    """
    _wants(path, root)
    try:
        with opened(path) as file:
            events = ElementTree.iterparse(file, events=("start", "end"))
            top = next(events)[1]
            for event, element in events:
                if event == "end" and element.tag == tag:
                    yield element
                    top.clear()
    except (ElementTree.ParseError, EOFError) as error:
        raise ValueError(f"{path} is cut short or damaged ({error})") from error


def parsed(path: Path, root: str) -> ElementTree.Element:
    """The whole tree.

    Raises:
        ValueError: the root has another name, or the file is cut short; the line is told.
    """
    _wants(path, root)
    try:
        with opened(path) as file:
            return ElementTree.parse(file).getroot()
    except (ElementTree.ParseError, EOFError) as error:
        raise ValueError(f"{path} is cut short or damaged ({error})") from error


def _wants(path: Path, root: str) -> None:
    name = root_name(path)
    if name != root:
        raise ValueError(f"{path} is an XML file of <{name}>; <{root}> was wanted")
