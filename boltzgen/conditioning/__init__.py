"""What the molecule tells the network: features, graph and temperature as a `Context`."""
