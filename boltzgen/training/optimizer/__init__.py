"""How a flow learns: gradients, their clipping, SOAP, several processes."""
