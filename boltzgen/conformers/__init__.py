"""Conformers: samples gathered into wells, what each holds, and files of them that other programs read."""
