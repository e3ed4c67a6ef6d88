//! `mapAccounts`, which go-yaml decodes straight into a list of strings, so that numbers and words stay as written.

use super::ProblemCause;
use super::decode::{Decoder, text};
use crate::yaml::{Fault, NodeId, NodeKind, Tree};
use crate::yaml::{Scalar, resolve};

/// What `mapAccounts` holds, read by go-yaml straight into a list of strings.
pub(super) struct Accounts {
    pub(super) ids: Vec<String>,
    /// Nodes that are no string, and why.
    pub(super) refused: Vec<(NodeId, ProblemCause)>,
    /// Where the rest was given up, and why.
    pub(super) fault: Option<Fault>,
}

/// Decodes a list of strings.
pub(super) fn decode(tree: &Tree) -> Accounts {
    let mut out = Accounts {
        ids: Vec::new(),
        refused: Vec::new(),
        fault: None,
    };
    let Some(root) = tree.root else { return out };
    let node = tree.node(root);
    let items = match &node.kind {
        NodeKind::Sequence { items, .. } => items,
        NodeKind::Scalar {
            value,
            tag,
            implicit,
            ..
        } => {
            match resolve(value, tag, *implicit, node.span.start) {
                Ok(Scalar::Null) => {}
                Ok(_) => out.refused.push((root, ProblemCause::NoList)),
                Err(fault) => out.fault = Some(fault),
            }
            return out;
        }
        NodeKind::Mapping { .. } | NodeKind::Alias { .. } => {
            out.refused.push((root, ProblemCause::NoList));
            return out;
        }
    };
    let mut decoder = Decoder::new(tree);
    // The document and the list itself.
    let counted = decoder.count(root).and_then(|()| decoder.count(root));
    if let Err(fault) = counted {
        out.fault = Some(fault);
        return out;
    }
    for &item in items {
        match account(&mut decoder, item) {
            Ok(Some(id)) => out.ids.push(id),
            Ok(None) => out.refused.push((item, ProblemCause::NotAnAccount)),
            Err(fault) => {
                // go-yaml gives up with a list that was made for all items.
                out.ids.resize(items.len(), String::new());
                out.fault = Some(fault);
                return out;
            }
        }
    }
    out
}

/// One item as text; `None` where it is a list or a mapping.
fn account(decoder: &mut Decoder<'_>, item: NodeId) -> Result<Option<String>, Fault> {
    let mut id = item;
    let mut aliases = 0;
    let found = loop {
        decoder.count(id)?;
        let node = decoder.tree.node(id);
        match &node.kind {
            NodeKind::Alias { target } => {
                aliases += 1;
                decoder.alias_depth += 1;
                id = *target;
            }
            NodeKind::Scalar {
                value,
                tag,
                implicit,
                ..
            } => {
                break match resolve(value, tag, *implicit, node.span.start)? {
                    Scalar::Null => Some(String::new()),
                    Scalar::Str(bytes) => Some(text(&bytes)),
                    Scalar::Bool(_) | Scalar::Int(_) | Scalar::Uint(_) | Scalar::Float(_) => {
                        Some(value.clone())
                    }
                };
            }
            NodeKind::Sequence { .. } | NodeKind::Mapping { .. } => break None,
        }
    };
    decoder.alias_depth -= aliases;
    Ok(found)
}
