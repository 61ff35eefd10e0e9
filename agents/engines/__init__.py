"""The block layer behind one Protocol each for heads and storage servers."""
