"""Everything that imports Flower: the Grid, the content codec, app loading and the built-in app."""
