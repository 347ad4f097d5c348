"""YOLOX: a detector without anchors, of one stage (Ge et al. 2021)."""
