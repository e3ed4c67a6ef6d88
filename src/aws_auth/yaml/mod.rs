//! YAML as go-yaml v2 reads it.
//!
//! go-yaml v2 (`go.yaml.in/yaml/v2` v2.4.4 and the identical `gopkg.in/yaml.v2` v2.4.0) descends from an early libyaml
//! and speaks a dialect of YAML 1.1 with habits of its own, which decide whether a section of `aws-auth` takes effect.
//! Invariants:
//!
//! - Only the first document is read, but scanning looks ahead as far as go-yaml does: no more, no less.
//! - Nothing recurses: the depth of a text costs heap, never stack.
//! - Every node knows its bytes.
//!
//! [`reader`] yields characters, [`scanner`] tokens, [`parser`] events, [`tree`] nodes.

mod parser;
mod property;
mod reader;
mod scalar;
mod scanner;
mod token;
mod tree;

pub(super) use token::Style;
pub(super) use tree::{Node, NodeId, NodeKind, Tree, compose};

/// Why a text is no YAML to go-yaml.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// Byte at which a person should look.
    pub(super) at: usize,
    /// What is wrong.
    pub(super) message: &'static str,
}

/// A place in the text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Mark {
    /// In bytes.
    byte: usize,
    /// In characters; a line break of two counts as two.
    index: usize,
    /// 0-based; NEL, LS and PS end a line too.
    line: usize,
    /// 0-based, in characters.
    column: usize,
}
