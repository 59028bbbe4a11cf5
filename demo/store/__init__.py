"""Store API: products, stores, stock levels and sales."""
