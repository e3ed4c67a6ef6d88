//! How a call is refused.

use serde_json::{Map, Value};

/// A refusal as its service words it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The error's code, such as `ResourceNotFoundException`.
    pub(crate) code: String,
    /// The HTTP status.
    pub(crate) status: u16,
    /// What went wrong.
    pub(crate) message: String,
    /// Members of the error beside its message, such as `clusterName`.
    pub(crate) members: Map<String, Value>,
}

impl Refusal {
    /// A refusal of any service.
    pub(crate) fn new(code: &str, status: u16, message: impl Into<String>) -> Self {
        Self {
            code: code.to_owned(),
            status,
            message: message.into(),
            members: Map::new(),
        }
    }

    /// The same, naming the cluster.
    #[must_use]
    pub(crate) fn of_cluster(mut self, name: &str) -> Self {
        self.members.insert("clusterName".to_owned(), name.into());
        self
    }

    /// 400: a parameter is wrong.
    pub(crate) fn parameter(message: impl Into<String>) -> Self {
        Self::new("InvalidParameterException", 400, message)
    }

    /// 400: the request does not fit the cluster's state.
    pub(crate) fn request(message: impl Into<String>) -> Self {
        Self::new("InvalidRequestException", 400, message)
    }

    /// 404.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new("ResourceNotFoundException", 404, message)
    }

    /// 409.
    pub(crate) fn in_use(message: impl Into<String>) -> Self {
        Self::new("ResourceInUseException", 409, message)
    }
}
