"""ETH/UCY text is told from other text by its numbers."""

from __future__ import annotations

import pytest

from trajlab.data.read import kind_of_file


@pytest.mark.parametrize(("line", "kind"), [("780\t1.0\t8.46\t3.59\n", "ETH/UCY text"), ("3\n", "ASE file"), ("a b c d\n", "ASE file")])
def test_the_first_line_decides(tmp_path, line, kind):
    path = tmp_path / "tracks.txt"
    path.write_text(line * 3)
    assert kind_of_file(path) == kind
