//! The policy store: uploads, and what power cuts, torn writes and flipped bits leave of it.

mod cuts;
mod flash;
mod node;
mod protocol;
mod sample;
