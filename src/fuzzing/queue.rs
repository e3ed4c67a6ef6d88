//! Messages of the queue: anyone who may send to it writes them.

use serde_json::Value;

use crate::access_entry::EksCluster;
use crate::aws::event::{AwsChange, ChangedObject, read};
use crate::principal::Principal;

/// A caller's ARN is cut to about so many bytes.
const CALLER_BYTES: usize = 260;

/// No message makes the reader panic. What it says is about this cluster, short enough to be kept, and the same however the JSON is
/// written.
pub fn queue(message: &str) {
    let cluster = EksCluster::parse("arn:aws:eks:eu-west-1:111122223333:cluster/main")
        .expect("the ARN of a cluster");
    let result = read(message, &cluster);
    if let Ok(event) = serde_json::from_str::<Value>(message) {
        assert_eq!(read(&event.to_string(), &cluster), result, "{message:?}");
    }
    let Ok(AwsChange { what, caller, .. }) = result else {
        return;
    };
    if let Some(caller) = caller {
        assert!(caller.len() <= CALLER_BYTES, "{caller:?}");
        assert!(
            caller.chars().all(|c| c.is_ascii_graphic() || c == '…'),
            "{caller:?}"
        );
    }
    match what {
        ChangedObject::Entry { principal_arn } => {
            let principal = Principal::parse(&principal_arn).expect("a principal");
            assert_eq!(Some(principal.partition), cluster.partition());
        }
        ChangedObject::Tags { entry_arn } => {
            let ours = "arn:aws:eks:eu-west-1:111122223333:access-entry/main/";
            assert!(entry_arn.starts_with(ours), "{entry_arn:?}");
        }
        ChangedObject::ClusterConfig | ChangedObject::Principal { .. } => {}
    }
}
