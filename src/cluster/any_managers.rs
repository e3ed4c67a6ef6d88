//! An object whose `metadata.managedFields` can contain anything that the API server accepts.
//!
//! Clients choose the times there, and the API server takes some that it can be no time, such as the last second of 9999. One such time
//! must not keep aws-auth from being read.

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::time::Timestamp;

/// An object of kind `K`. A time of a writer that can't be read is left out.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub(super) struct AnyManagers<K>(pub(super) K);

impl<'de, K: DeserializeOwned> Deserialize<'de> for AnyManagers<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut raw = Value::deserialize(deserializer)?;
        let managers = raw
            .pointer_mut("/metadata/managedFields")
            .and_then(Value::as_array_mut);
        for manager in managers.into_iter().flatten() {
            let time = manager["time"].as_str();
            let unreadable = time.is_some_and(|time| time.parse::<Timestamp>().is_err());
            if let Some(manager) = manager.as_object_mut().filter(|_| unreadable) {
                manager.remove("time");
            }
        }
        K::deserialize(raw).map(Self).map_err(D::Error::custom)
    }
}

read_as!(AnyManagers<K>, K, any K; object => (object.0.meta(), object.0.meta_mut()));

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use serde_json::json;

    use super::*;
    use crate::observed::ConfigMapView;

    #[test]
    fn times_of_writers_that_are_none_leave_the_rest_readable() {
        let manager = |name: &str, key: &str, time: &str| {
            json!({
                "manager": name, "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1",
                "fieldsV1": { "f:data": { (format!("f:{key}")): {} } }, "time": time,
            })
        };
        let object = json!({
            "metadata": {
                "name": "aws-auth",
                "managedFields": [
                    manager("early", "mapRoles", "2026-01-01T00:00:00Z"),
                    manager("late", "mapUsers", "9999-12-31T23:59:59Z"),
                    manager("nowhere", "mapAccounts", "2026-01-01T00:00:00+99:99"),
                ],
            },
            "data": { "mapRoles": "[]" },
        });
        let read: AnyManagers<ConfigMap> = serde_json::from_value(object).expect("it is read");
        let view = ConfigMapView::from_object(&read.0);
        assert_eq!(view.data["mapRoles"], "[]");
        for (key, name, timed) in [
            ("mapRoles", "early", true),
            ("mapUsers", "late", false),
            ("mapAccounts", "nowhere", false),
        ] {
            let manager = &view.managers[key];
            assert_eq!(
                (manager.name.as_str(), manager.time.is_some()),
                (name, timed)
            );
        }
    }
}
