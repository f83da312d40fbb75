//! Dynamic super-network inference on candle.
