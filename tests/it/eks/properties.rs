//! What holds for any request: labels survive, the model's limits are kept, pages miss nothing.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::clients::segment;
use crate::support::eks::{EKS, IAM, Misfit, page, route};

/// Any JSON.
fn json_values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        let keys = prop_oneof![
            Just("principalArn".to_owned()),
            Just("clusterName".to_owned()),
            Just("tags".to_owned()),
            Just("accessScope".to_owned()),
            Just("type".to_owned()),
            Just("kubernetesGroups".to_owned()),
            any::<String>(),
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((keys, inner), 0..6)
                .prop_map(|pairs| pairs.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn any_label_survives_the_path(cluster in ".+", arn in ".+", policy in ".+") {
        let path = format!(
            "/clusters/{}/access-entries/{}/access-policies/{}",
            segment(&cluster), segment(&arn), segment(&policy)
        );
        let (operation, labels) = route(&EKS, "DELETE", &path).expect("a route");
        prop_assert_eq!(&operation.name, "DisassociateAccessPolicy");
        let expected = [("name", cluster), ("principalArn", arn), ("policyArn", policy)];
        let expected: Vec<_> = expected.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        prop_assert_eq!(labels, expected);
    }

    #[test]
    fn any_path_is_routed_or_refused(method in "GET|POST|DELETE", path in "(/|%|clusters|tags|access-entries|[a-z]|%2F){0,12}") {
        if let Some((operation, labels)) = route(&EKS, &method, &path) {
            prop_assert_eq!(&operation.http.method, &method);
            prop_assert!(labels.iter().all(|(_, value)| !value.is_empty()));
        }
    }

    #[test]
    fn any_body_is_checked(body in json_values()) {
        let Value::Object(mut members) = body else { return Ok(()) };
        members.insert("clusterName".to_owned(), json!("test"));
        let create = &EKS.operations["CreateAccessEntry"];
        let fits = EKS.check_input(create, &members);
        let text = |value: &Value| value.is_string();
        let arn = members.get("principalArn").is_some_and(text);
        let optional = |name: &str, fits: &dyn Fn(&Value) -> bool| {
            members.get(name).is_none_or(|value| value.is_null() || fits(value))
        };
        let groups = optional("kubernetesGroups", &|value| value.as_array().is_some_and(|it| it.iter().all(text)));
        let type_ = optional("type", &text);
        let tags = optional("tags", &|value| value.as_object().is_some_and(|tags| {
            let fits = |(key, value): (&String, &Value)| {
                let value = value.as_str().is_some_and(|value| value.chars().count() <= 256);
                value && (1..=128).contains(&key.chars().count())
            };
            (1..=50).contains(&tags.len()) && tags.iter().all(fits)
        }));
        prop_assert_eq!(fits.is_ok(), arn && groups && type_ && tags, "{:?}", fits);
    }

    #[test]
    fn limits_of_numbers_texts_and_patterns(items in -5_i64..1100, prefix in "[/a!]{0,4}") {
        let list = &IAM.operations["ListRoles"];
        let input = json!({"MaxItems": items, "PathPrefix": prefix});
        let fits = IAM.check_input(list, input.as_object().unwrap());
        let expected = usize::from(!(1..=1000).contains(&items))
            + usize::from(prefix.is_empty())
            + usize::from(!prefix.starts_with('/'));
        match fits {
            Ok(()) => prop_assert_eq!(expected, 0),
            Err(Misfit::Constraints(found)) => prop_assert_eq!(found.len(), expected, "{:?}", found),
            Err(other) => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn pages_miss_nothing_and_repeat_nothing(
        items in prop::collection::btree_set("[a-z:/]{1,8}", 0..60),
        most in 1_usize..12,
        gone in prop::collection::btree_set("[a-z:/]{1,8}", 0..10),
    ) {
        let mut token: Option<String> = None;
        let mut seen = Vec::new();
        let mut standing = items.clone();
        loop {
            let list: Vec<String> = standing.iter().cloned().collect();
            let page = page("scope", list, Clone::clone, token.as_deref(), most).expect("our own token");
            prop_assert!(page.items.len() <= most);
            prop_assert!(page.next.is_none() || page.items.len() == most);
            seen.extend(page.items);
            // What goes between two pages hides nothing else.
            standing = &standing - &gone;
            token = page.next;
            let Some(token) = &token else { break };
            let other: Vec<&String> = items.iter().collect();
            let foreign = crate::support::eks::page("another scope", other, |it| (*it).clone(), Some(token), most);
            prop_assert!(foreign.is_none());
        }
        let unique: BTreeSet<_> = seen.iter().cloned().collect();
        prop_assert_eq!(unique.len(), seen.len());
        prop_assert!((&items - &gone).is_subset(&unique));
    }
}
