"""Complete methods, each with a config, `fit` and one verb."""

TABLE: dict[str, str] = {
    "trajcast": "trajlab.models.trajcast:TrajCast",
    "geotdm": "trajlab.models.geotdm:GeoTDM",
}
