"""Where a pool's items come from."""
