"""What rows come to: frozen, typed counts that add up. Rows stay in the engine that counts them."""
