"""From files to training tiles: reading, pairing, checking, normalising, weighting, augmenting."""
