"""The differential harness: the same commands to two RESP servers, raw replies and the state behind them compared."""
