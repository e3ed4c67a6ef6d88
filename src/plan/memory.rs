//! What this process remembers from pass to pass. A restart begins with `Memory::default()`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {}
