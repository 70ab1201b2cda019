"""One file per venue, behind one protocol."""
