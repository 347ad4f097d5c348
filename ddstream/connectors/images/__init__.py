"""The connector of images, its data sets, and how pictures are varied."""
