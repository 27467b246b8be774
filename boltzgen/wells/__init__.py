"""Wells: samples gathered into conformers, what each holds, and files of them that other programs read."""
