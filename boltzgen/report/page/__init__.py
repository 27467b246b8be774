"""The page: one offline HTML file about a molecule, its simulation, its flow, its samples and the answer."""
