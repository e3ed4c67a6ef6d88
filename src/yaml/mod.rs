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
//! [`reader`] yields characters, [`scanner`] tokens, [`parser`] events, [`tree`] nodes; [`resolve`](mod@resolve) tells what type a
//! scalar has. kubectl reads manifests with the same library, so what is true of `aws-auth` is true of them.

mod fault;
mod lines;
mod names;
mod parser;
mod property;
mod reader;
mod resolve;
mod scalar;
mod scanner;
mod token;
mod tree;

pub(crate) use fault::{Fault, FaultKind};
pub(crate) use lines::Lines;
pub(crate) use names::almost;
pub(crate) use resolve::{Scalar, resolve};
pub(crate) use token::Style;
pub(crate) use tree::{Node, NodeId, NodeKind, Tree, compose};

/// A place in the text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct TextPosition {
    /// In bytes.
    byte: usize,
    /// In characters; a line break of two counts as two.
    index: usize,
    /// 0-based; NEL, LS and PS end a line too.
    line: usize,
    /// 0-based, in characters.
    column: usize,
}
