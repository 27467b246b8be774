"""``sample``, ``check``, ``reweight``, ``merge``, ``export``: weighted samples and what is done with them."""
