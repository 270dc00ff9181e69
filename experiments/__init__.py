"""What the network reaches on real images: one script a row, see README.md."""
