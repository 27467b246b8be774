"""``conformers``: samples gathered into wells, with what each holds."""
