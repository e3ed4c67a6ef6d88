//! Every operation through the Rust SDK, which reads our answers with its own types.

use std::collections::BTreeSet;

use aws_sdk_eks::types::{
    AccessScope, AccessScopeType, AuthenticationMode, CertificateAuthoritySummary,
};
use aws_sdk_eks::types::{
    ClusterStatus, UpdateAccessConfigRequest, UpdateParamType, UpdateStatus, UpdateType,
};

use super::clients::{Clients, refusal};
use super::{CLUSTER, OTHER, OWN, policy};
use crate::support::eks::{Eks, Mode, POLICIES, World};

fn scope(namespaces: &[&str]) -> AccessScope {
    let kind = if namespaces.is_empty() {
        AccessScopeType::Cluster
    } else {
        AccessScopeType::Namespace
    };
    let names = namespaces.iter().map(|&name| name.to_owned()).collect();
    AccessScope::builder()
        .r#type(kind)
        .set_namespaces(Some(names))
        .build()
}

#[tokio::test]
async fn an_entry_from_its_creation_to_its_end() {
    let mut world = World::new(CLUSTER).mode(Mode::ApiAndConfigMap);
    let role = world.role(OWN, "/teams/a/", "Dev").arn;
    let eks = Eks::start(world).await;
    let client = Clients::new(&eks).await.eks;

    let create = client
        .create_access_entry()
        .cluster_name("test")
        .principal_arn(&role);
    let create = create
        .username("dev:{{SessionName}}")
        .kubernetes_groups("b")
        .kubernetes_groups("a");
    let made = create
        .tags("k", "v")
        .send()
        .await
        .unwrap()
        .access_entry
        .unwrap();
    assert_eq!(made.username(), Some("dev:{{SessionName}}"));
    let arn = made.access_entry_arn().unwrap();
    let start = "arn:aws:eks:eu-west-1:111122223333:access-entry/test/role/111122223333/Dev/";
    assert!(
        arn.starts_with(start) && arn.len() == start.len() + 36,
        "{arn}"
    );

    let describe = || async {
        let describe = client
            .describe_access_entry()
            .cluster_name("test")
            .principal_arn(&role);
        describe.send().await.unwrap().access_entry.unwrap()
    };
    let described = describe().await;
    assert_eq!(described, made);
    assert_eq!(described.kubernetes_groups(), ["b", "a"]);
    assert_eq!(described.r#type(), Some("STANDARD"));
    assert_eq!(described.tags().unwrap()["k"], "v");

    // An update replaces: what is not sent goes back to the default.
    let update = client
        .update_access_entry()
        .cluster_name("test")
        .principal_arn(&role);
    let updated = update
        .kubernetes_groups("c")
        .send()
        .await
        .unwrap()
        .access_entry
        .unwrap();
    assert_eq!(
        updated.username(),
        Some("arn:aws:sts::111122223333:assumed-role/Dev/{{SessionName}}")
    );
    assert_eq!(updated.kubernetes_groups(), ["c"]);
    assert_eq!(updated.created_at(), made.created_at());
    let update = client
        .update_access_entry()
        .cluster_name("test")
        .principal_arn(&role);
    let updated = update
        .username("me")
        .send()
        .await
        .unwrap()
        .access_entry
        .unwrap();
    assert!(updated.kubernetes_groups().is_empty());
    assert_eq!(updated.username(), Some("me"));

    let delete = client
        .delete_access_entry()
        .cluster_name("test")
        .principal_arn(&role);
    delete.send().await.unwrap();
    let describe = client
        .describe_access_entry()
        .cluster_name("test")
        .principal_arn(&role);
    assert_eq!(
        refusal(describe.send().await).0,
        "ResourceNotFoundException"
    );
}

#[tokio::test]
async fn tags_are_set_and_taken_off() {
    let mut world = World::new(CLUSTER).mode(Mode::Api);
    let role = world.role(OWN, "/teams/a/", "Dev").arn;
    let eks = Eks::start(world).await;
    let client = Clients::new(&eks).await.eks;
    let create = client
        .create_access_entry()
        .cluster_name("test")
        .principal_arn(&role);
    let made = create.tags("k", "v").send().await.unwrap();
    let made = made.access_entry.unwrap();
    let arn = made.access_entry_arn().unwrap();
    client
        .tag_resource()
        .resource_arn(arn)
        .tags("k", "w")
        .tags("l", "")
        .send()
        .await
        .unwrap();
    client
        .untag_resource()
        .resource_arn(arn)
        .tag_keys("k")
        .tag_keys("none")
        .send()
        .await
        .unwrap();
    let tags = [("l".to_owned(), String::new())].into();
    let describe = client
        .describe_access_entry()
        .cluster_name("test")
        .principal_arn(&role);
    let described = describe.send().await.unwrap().access_entry.unwrap();
    assert_eq!(described.tags.as_ref(), Some(&tags));
    assert_eq!(described.modified_at, made.modified_at);
    let list = client.list_tags_for_resource().resource_arn(arn);
    assert_eq!(list.send().await.unwrap().tags, Some(tags));

    // The cluster has tags of its own.
    let tag = client.tag_resource().resource_arn(CLUSTER).tags("c", "d");
    tag.send().await.unwrap();
    let list = client.list_tags_for_resource().resource_arn(CLUSTER);
    let tags = list.send().await.unwrap().tags.unwrap();
    assert_eq!(tags, [("c".to_owned(), "d".to_owned())].into());
}

#[tokio::test]
async fn policies_are_associated_widened_and_taken_away() {
    let mut world = World::new(CLUSTER).mode(Mode::Api);
    let role = world.role(OWN, "/teams/", "Dev").arn;
    let eks = Eks::start(world).await;
    let client = Clients::new(&eks).await.eks;
    let create = client
        .create_access_entry()
        .cluster_name("test")
        .principal_arn(&role);
    create.send().await.unwrap();

    let associate = |name: &str, scope: AccessScope| {
        let associate = client
            .associate_access_policy()
            .cluster_name("test")
            .principal_arn(&role);
        associate
            .policy_arn(policy(name))
            .access_scope(scope)
            .send()
    };
    let view = "AmazonEKSViewPolicy";
    let first = associate(view, scope(&["a", "dev-*"])).await.unwrap();
    let first = first.associated_access_policy.unwrap();
    eks.advance(std::time::Duration::from_mins(1));
    let second = associate(view, scope(&[]))
        .await
        .unwrap()
        .associated_access_policy
        .unwrap();
    assert_eq!(
        second.associated_at(),
        first.associated_at(),
        "the first time is kept"
    );
    assert!(second.modified_at() > first.modified_at());
    assert_eq!(
        second.access_scope().unwrap().namespaces.as_deref(),
        Some(&[][..])
    );
    associate("AmazonEKSEditPolicy", scope(&["a"]))
        .await
        .unwrap();

    let list = client
        .list_associated_access_policies()
        .cluster_name("test")
        .principal_arn(&role);
    let pages = list.into_paginator().page_size(1).items().send();
    let listed: Vec<_> = pages.collect::<Result<_, _>>().await.unwrap();
    let names: Vec<_> = listed
        .iter()
        .map(|it| it.policy_arn().unwrap().to_owned())
        .collect();
    assert_eq!(names, [policy("AmazonEKSEditPolicy"), policy(view)]);

    let list = client.list_access_entries().cluster_name("test");
    let admins = list
        .clone()
        .associated_policy_arn(policy(view))
        .send()
        .await
        .unwrap();
    assert_eq!(admins.access_entries(), [role.as_str()]);
    let others = list
        .associated_policy_arn(policy("AmazonEKSAdminPolicy"))
        .send()
        .await
        .unwrap();
    assert!(others.access_entries().is_empty());

    let disassociate = client
        .disassociate_access_policy()
        .cluster_name("test")
        .principal_arn(&role);
    disassociate
        .clone()
        .policy_arn(policy(view))
        .send()
        .await
        .unwrap();
    let again = refusal(disassociate.policy_arn(policy(view)).send().await);
    assert_eq!(again.0, "ResourceNotFoundException");

    let pages = client
        .list_access_policies()
        .into_paginator()
        .page_size(10)
        .items()
        .send();
    let offered: Vec<_> = pages.collect::<Result<_, _>>().await.unwrap();
    let names: Vec<_> = offered.iter().map(|it| it.name().unwrap()).collect();
    assert_eq!(names, POLICIES);
    assert!(
        offered
            .iter()
            .all(|it| it.arn() == Some(&policy(it.name().unwrap())))
    );
}

#[tokio::test]
async fn the_mode_is_changed_by_an_update_that_takes_time() {
    let world = World::new(CLUSTER)
        .mode(Mode::ConfigMap)
        .api_server(b"PEM", "https://127.0.0.1:1");
    let eks = Eks::start(world).await;
    let client = Clients::new(&eks).await.eks;
    eks.knobs().update = std::time::Duration::from_mins(3);
    let describe = || async {
        let described = client.describe_cluster().name("test").send().await.unwrap();
        described.cluster.unwrap()
    };
    let cluster = describe().await;
    assert_eq!(cluster.arn(), Some(CLUSTER));
    assert_eq!(
        cluster.certificate_authority().unwrap().data(),
        Some("UEVN")
    );
    assert_eq!(
        cluster.access_config().unwrap().authentication_mode(),
        Some(&AuthenticationMode::ConfigMap)
    );

    let wanted = UpdateAccessConfigRequest::builder();
    let wanted = wanted
        .authentication_mode(AuthenticationMode::ApiAndConfigMap)
        .build();
    let update = client
        .update_cluster_config()
        .name("test")
        .access_config(wanted);
    let update = update.send().await.unwrap().update.unwrap();
    assert_eq!(update.status(), Some(&UpdateStatus::InProgress));
    assert_eq!(update.r#type(), Some(&UpdateType::AccessConfigUpdate));
    assert_eq!(
        update.params()[0].r#type(),
        Some(&UpdateParamType::AuthenticationMode)
    );
    assert_eq!(update.params()[0].value(), Some("\"API_AND_CONFIG_MAP\""));
    let id = update.id().unwrap();
    let status = || async {
        let described = client
            .describe_update()
            .name("test")
            .update_id(id)
            .send()
            .await
            .unwrap();
        described.update.unwrap().status.unwrap()
    };
    assert_eq!(status().await, UpdateStatus::InProgress);
    assert_eq!(describe().await.status(), Some(&ClusterStatus::Updating));

    eks.advance(std::time::Duration::from_mins(3));
    assert_eq!(status().await, UpdateStatus::Successful);
    let cluster = describe().await;
    assert_eq!(cluster.status(), Some(&ClusterStatus::Active));
    assert_eq!(
        cluster.access_config().unwrap().authentication_mode(),
        Some(&AuthenticationMode::ApiAndConfigMap)
    );
    let updates = client.list_updates().name("test").send().await.unwrap();
    assert_eq!(updates.update_ids(), [id]);
    let clusters = client.list_clusters().send().await.unwrap();
    assert_eq!(clusters.clusters(), ["test"]);
}

#[tokio::test]
async fn three_thousand_entries_come_on_pages_of_a_hundred() {
    let mut world = World::new(CLUSTER).mode(Mode::Api);
    let roles: BTreeSet<String> = (0..2999)
        .map(|it| world.role(OWN, "/r/", &format!("r{it}")).arn)
        .collect();
    let eks = Eks::start(world).await;
    for arn in &roles {
        eks.by_hand(
            "CreateAccessEntry",
            serde_json::json!({"principalArn": arn}),
        )
        .unwrap();
    }
    let mark = eks.log().mark();
    let client = Clients::new(&eks).await.eks;
    let pages = client
        .list_access_entries()
        .cluster_name("test")
        .into_paginator();
    let listed: Vec<String> = pages
        .items()
        .send()
        .collect::<Result<_, _>>()
        .await
        .unwrap();
    assert_eq!(listed.len(), roles.len());
    assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), roles);
    assert_eq!(eks.log().count("ListAccessEntries", mark), 30);
}

#[tokio::test]
async fn iam_lists_the_roles_below_a_path() {
    let mut world = World::new(CLUSTER);
    let prefix = "/aws-reserved/sso.amazonaws.com/";
    let mut sso = BTreeSet::new();
    for number in 0..250 {
        world.role(OWN, "/", &format!("other-{number}"));
        sso.insert(
            world
                .role(
                    OWN,
                    &format!("{prefix}eu-west-1/"),
                    &format!("AWSReservedSSO_P{number}_x"),
                )
                .arn,
        );
    }
    let eks = Eks::start(world).await;
    // IAM may return fewer than asked for.
    eks.knobs().iam_page = 60;
    let client = Clients::new(&eks).await.iam;

    let mark = eks.log().mark();
    let pages = client
        .list_roles()
        .path_prefix(prefix)
        .into_paginator()
        .page_size(1000);
    let found: Vec<_> = pages
        .items()
        .send()
        .collect::<Result<_, _>>()
        .await
        .unwrap();
    assert_eq!(
        found
            .iter()
            .map(|it| it.arn().to_owned())
            .collect::<BTreeSet<_>>(),
        sso
    );
    assert!(
        found
            .iter()
            .all(|it| it.tags().is_empty() && it.role_id().starts_with("AROA"))
    );
    assert_eq!(eks.log().count("ListRoles", mark), 5);
}

#[tokio::test]
async fn iam_finds_a_principal_by_its_name() {
    let mut world = World::new(CLUSTER);
    world.role(OWN, "/", "other-3");
    let user = world.user(OWN, "/people/", "ann@example.com");
    world.user(OTHER, "/", "of-another-account");
    let eks = Eks::start(world).await;
    let client = Clients::new(&eks).await.iam;
    let users = client.list_users().send().await.unwrap();
    let [found] = users.users() else {
        panic!("{users:?}")
    };
    assert_eq!(
        (found.arn(), found.user_id(), found.path()),
        (user.arn.as_str(), user.id.as_str(), "/people/")
    );
    assert_eq!(found.create_date().secs(), user.created.as_second());

    let role = client
        .get_role()
        .role_name("OTHER-3")
        .send()
        .await
        .unwrap()
        .role
        .unwrap();
    assert_eq!(role.arn(), "arn:aws:iam::111122223333:role/other-3");
    let found = client
        .get_user()
        .user_name("ann@example.com")
        .send()
        .await
        .unwrap();
    assert_eq!(found.user().unwrap().user_id(), user.id);
    let missing = refusal(client.get_role().role_name("none").send().await);
    assert_eq!(
        missing,
        (
            "NoSuchEntity".to_owned(),
            "The role with name none cannot be found.".to_owned()
        )
    );
    let missing = refusal(client.get_user().user_name("none").send().await);
    assert_eq!(missing.1, "The user with name none cannot be found.");
}

#[tokio::test]
async fn iam_refuses_what_its_model_does_not_have_and_what_is_denied() {
    let eks = Eks::start(World::new(CLUSTER)).await;
    let client = Clients::new(&eks).await.iam;
    let prefix = "/aws-reserved/sso.amazonaws.com/";
    let bad = refusal(client.list_roles().max_items(1001).send().await);
    assert_eq!(bad.0, "ValidationError");
    assert!(
        bad.1
            .contains("Member must have value less than or equal to 1000"),
        "{}",
        bad.1
    );
    let bad = refusal(client.list_roles().path_prefix("no-slash").send().await);
    assert!(
        bad.1
            .contains("Member must satisfy regular expression pattern"),
        "{}",
        bad.1
    );

    eks.knobs().deny("iam:ListRoles");
    let denied = refusal(client.list_roles().path_prefix(prefix).send().await);
    assert_eq!(denied.0, "AccessDenied");
    assert!(
        denied.1.starts_with("User: arn:aws:sts::111122223333:assumed-role/identity-mapper/operator is not authorized to perform: iam:ListRoles on resource: arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/"),
        "{}",
        denied.1
    );
}

#[tokio::test]
async fn a_certificate_authority_is_rotated() {
    let world = World::new(CLUSTER).api_server(b"PEM\n", "https://127.0.0.1:1");
    let eks = Eks::start(world).await;
    let client = Clients::new(&eks).await.eks;
    let bundle = async || {
        let described = client.describe_cluster().name("test").send().await.unwrap();
        let authority = described.cluster.unwrap().certificate_authority.unwrap();
        let active = authority.active().unwrap().id().unwrap().to_owned();
        (authority.data.unwrap(), active)
    };
    let listed = async || {
        let list = client.list_certificate_authorities().cluster_name("test");
        let listed = list.send().await.unwrap().certificate_authorities.unwrap();
        let line = |it: &CertificateAuthoritySummary| {
            let (signing, distribution) = (it.signing_status(), it.distribution_status());
            let shown = [signing.unwrap().as_str(), distribution.unwrap().as_str()];
            (it.id().unwrap().to_owned(), shown.join(" "))
        };
        listed.iter().map(line).collect::<Vec<_>>()
    };
    let line = |id: &str, shown: &str| (id.to_owned(), shown.to_owned());
    let (data, old) = bundle().await;
    assert_eq!(data, "UEVNCg==");
    assert_eq!(listed().await, [line(&old, "IN_USE COMPLETE")]);

    // It is trusted once that is everywhere.
    eks.knobs().update = std::time::Duration::from_mins(3);
    let create = || client.create_certificate_authority().cluster_name("test");
    let made = create().send().await.unwrap();
    let update = made.update.unwrap();
    assert_eq!(
        update.r#type(),
        Some(&UpdateType::CertificateAuthorityUpdate)
    );
    let new = made.certificate_authority.unwrap().id.unwrap();
    assert_eq!(update.params()[0].value(), Some(new.as_str()));
    assert_eq!(bundle().await, (data.clone(), old.clone()));
    let activate = |id: &str| {
        let activate = client.activate_certificate_authority();
        activate.cluster_name("test").certificate_authority_id(id)
    };
    let busy = refusal(activate(&new).send().await);
    assert_eq!(busy.0, "InvalidParameterException");
    assert!(busy.1.contains(update.id().unwrap()), "{}", busy.1);
    eks.advance(std::time::Duration::from_mins(4));
    let (both, active) = bundle().await;
    assert!(both.starts_with("UEVN") && both.len() > data.len());
    assert_eq!(active, old);
    eks.knobs().update = std::time::Duration::ZERO;
    assert_eq!(
        refusal(create().send().await).0,
        "ResourceLimitExceededException"
    );

    let delete = |id: &str| {
        let delete = client.delete_certificate_authority();
        delete.cluster_name("test").certificate_authority_id(id)
    };
    let signs = refusal(delete(&old).send().await);
    assert_eq!(signs.0, "ResourceInUseException");
    activate(&new).send().await.unwrap();
    // The active one comes first.
    let expected = [
        line(&new, "IN_USE COMPLETE"),
        line(&old, "NOT_USED COMPLETE"),
    ];
    assert_eq!(listed().await, expected);
    assert_eq!(bundle().await.1, new);
    let again = refusal(activate(&new).send().await);
    assert_eq!(again.0, "InvalidParameterException");
    delete(&old).send().await.unwrap();
    assert_eq!(listed().await, [line(&new, "IN_USE COMPLETE")]);
    let gone = client.describe_certificate_authority().cluster_name("test");
    let gone = refusal(gone.certificate_authority_id(&old).send().await);
    assert_eq!(gone.0, "ResourceNotFoundException");
}

#[tokio::test]
async fn a_role_of_another_account_is_assumed() {
    let mut world = World::new(CLUSTER);
    let reader = world
        .assumable_role(OTHER, "/", "reader", Some("example-id"))
        .arn;
    let closed = world.role(OTHER, "/", "closed").arn;
    let eks = Eks::start(world).await;
    let clients = Clients::new(&eks).await;
    let own = clients.sts.get_caller_identity().send().await.unwrap();
    assert_eq!(
        own.arn(),
        Some("arn:aws:sts::111122223333:assumed-role/identity-mapper/operator")
    );
    assert_eq!(own.account(), Some(OWN));

    let assume = |arn: &str, external: Option<&str>| {
        let assume = clients
            .sts
            .assume_role()
            .role_arn(arn)
            .role_session_name("me");
        assume.set_external_id(external.map(str::to_owned)).send()
    };
    let missing = format!("arn:aws:iam::{OTHER}:role/missing");
    for (arn, external) in [
        (&closed, None),
        (&missing, None),
        (&reader, None),
        (&reader, Some("other")),
    ] {
        let refused = refusal(assume(arn, external).await);
        let text = format!(
            "User: arn:aws:sts::111122223333:assumed-role/identity-mapper/operator is not authorized to perform: sts:AssumeRole on resource: {arn}"
        );
        assert_eq!(refused, ("AccessDenied".to_owned(), text));
    }
    let assumed = assume(&reader, Some("example-id")).await.unwrap();
    let credentials = assumed.credentials.unwrap();
    let credentials = aws_sdk_eks::config::Credentials::new(
        credentials.access_key_id,
        credentials.secret_access_key,
        Some(credentials.session_token),
        None,
        "assumed",
    );
    let there = Clients::of(&eks, credentials).await;
    let identity = there.sts.get_caller_identity().send().await.unwrap();
    assert_eq!(
        identity.arn(),
        Some("arn:aws:sts::444455556666:assumed-role/reader/me")
    );
    let roles = there.iam.list_roles().send().await.unwrap();
    let arns: Vec<_> = roles
        .roles()
        .iter()
        .map(aws_sdk_iam::types::Role::arn)
        .collect();
    assert_eq!(arns, [closed.as_str(), reader.as_str()]);

    eks.advance(std::time::Duration::from_hours(1));
    let expired = refusal(there.iam.list_roles().send().await);
    assert_eq!(expired.0, "ExpiredToken");
}
