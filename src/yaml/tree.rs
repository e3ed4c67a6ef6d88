//! The first document as a tree of nodes with their bytes.

use std::collections::HashMap;
use std::ops::Range;

use super::parser::{EventKind, Parser};
use super::{Fault, FaultKind, Style};

/// Index of a node in its [`Tree`].
pub(crate) type NodeId = usize;

/// A node of the document.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) kind: NodeKind,
    /// Its bytes, anchor and tag included, up to the end of its last token.
    pub(crate) span: Range<usize>,
    /// Where its dash is, if it is an item of a block list.
    pub(crate) dash: Option<usize>,
    /// Whether it bears an anchor.
    pub(crate) anchored: bool,
}

/// What a node is.
#[derive(Clone, Debug)]
pub(crate) enum NodeKind {
    /// A scalar; `implicit` where go-yaml resolves its type from the text.
    Scalar {
        value: String,
        tag: Vec<u8>,
        implicit: bool,
        style: Style,
    },
    /// A list.
    Sequence { items: Vec<NodeId>, flow: bool },
    /// Keys and values in turn.
    Mapping { pairs: Vec<NodeId>, flow: bool },
    /// Another mention of an anchored node.
    Alias { target: NodeId },
}

/// The first document of a text.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    nodes: Vec<Node>,
    /// The document's only node; `None` where the text holds no document.
    pub(crate) root: Option<NodeId>,
    /// Byte from which on the document's content may stand: behind `---` if there is one.
    pub(crate) start: usize,
    /// Byte at which the document ends: at `...`, the next `---` or the end of the text.
    pub(crate) end: usize,
}

impl Tree {
    pub(crate) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id]
    }

    /// How many nodes there are; they are numbered from 0 in document order, parents before children.
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether two runs of nodes are the same: byte for byte, node for node, each alias meaning an equal place.
    pub(crate) fn same_nodes(
        &self,
        mine: &Range<NodeId>,
        my_text: &str,
        other: &Tree,
        theirs: &Range<NodeId>,
        their_text: &str,
    ) -> bool {
        mine.len() == theirs.len()
            && mine.clone().zip(theirs.clone()).all(|(my_id, their_id)| {
                let (my_node, their_node) = (&self.nodes[my_id], &other.nodes[their_id]);
                let is_leaf = matches!(
                    my_node.kind,
                    NodeKind::Scalar { .. } | NodeKind::Alias { .. }
                );
                let same_bytes =
                    || my_text.get(my_node.span.clone()) == their_text.get(their_node.span.clone());
                let same_kind = match (&my_node.kind, &their_node.kind) {
                    (
                        NodeKind::Scalar {
                            value: a, tag: b, ..
                        },
                        NodeKind::Scalar {
                            value: c, tag: d, ..
                        },
                    ) => a == c && b == d,
                    (
                        NodeKind::Sequence { items: a, flow: b },
                        NodeKind::Sequence { items: c, flow: d },
                    )
                    | (
                        NodeKind::Mapping { pairs: a, flow: b },
                        NodeKind::Mapping { pairs: c, flow: d },
                    ) => a.len() == c.len() && b == d,
                    (NodeKind::Alias { target: a }, NodeKind::Alias { target: b }) => {
                        if mine.contains(a) || theirs.contains(b) {
                            a.wrapping_sub(mine.start) == b.wrapping_sub(theirs.start)
                        } else {
                            // The other item is compared on its own.
                            self.nodes[*a].span.len() == other.nodes[*b].span.len()
                        }
                    }
                    _ => false,
                };
                same_kind && my_node.anchored == their_node.anchored && (!is_leaf || same_bytes())
            })
    }
}

/// Reads the first document.
pub(crate) fn compose(text: &str) -> Result<Tree, Fault> {
    // go-yaml reads an empty text as one line break.
    let text = if text.is_empty() { "\n" } else { text };
    let mut parser = Parser::new(text);
    let mut tree = Tree {
        nodes: Vec::new(),
        root: None,
        start: 0,
        end: text.len(),
    };
    let Some(start) = parser.start()? else {
        return Ok(tree);
    };
    tree.start = start;
    let mut anchors: HashMap<String, NodeId> = HashMap::new();
    let mut open: Vec<NodeId> = Vec::new();
    loop {
        let event = parser.next()?;
        let kind = match event.kind {
            EventKind::DocumentEnd => {
                tree.end = event.start;
                return Ok(tree);
            }
            EventKind::End => {
                if let Some(id) = open.pop() {
                    let span = &mut tree.nodes[id].span;
                    span.end = event.end.max(span.start);
                }
                continue;
            }
            EventKind::Alias(name) => {
                let Some(&target) = anchors.get(&name) else {
                    return Err(Fault {
                        at: event.start,
                        kind: FaultKind::UnknownAlias,
                    });
                };
                NodeKind::Alias { target }
            }
            EventKind::Scalar {
                value,
                tag,
                implicit,
                style,
            } => NodeKind::Scalar {
                value,
                tag,
                implicit,
                style,
            },
            EventKind::SequenceStart { flow } => NodeKind::Sequence {
                items: Vec::new(),
                flow,
            },
            EventKind::MappingStart { flow } => NodeKind::Mapping {
                pairs: Vec::new(),
                flow,
            },
        };
        let id = tree.nodes.len();
        let opens = matches!(kind, NodeKind::Sequence { .. } | NodeKind::Mapping { .. });
        let anchored = event.anchor.is_some();
        tree.nodes.push(Node {
            kind,
            span: event.start..event.end,
            dash: event.dash,
            anchored,
        });
        if let Some(name) = event.anchor {
            anchors.insert(name, id);
        }
        match open.last() {
            None => tree.root = Some(id),
            Some(&parent) => match &mut tree.nodes[parent].kind {
                NodeKind::Sequence {
                    items: children, ..
                }
                | NodeKind::Mapping {
                    pairs: children, ..
                } => {
                    children.push(id);
                }
                NodeKind::Scalar { .. } | NodeKind::Alias { .. } => {
                    unreachable!("only collections are opened")
                }
            },
        }
        if opens {
            open.push(id);
        }
    }
}
