"""How long a long verb will take: measured shortly on this machine before it begins."""
