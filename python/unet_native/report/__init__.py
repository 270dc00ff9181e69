"""Reports to look at in a browser: one HTML file each, for a training run and for a scoring."""
