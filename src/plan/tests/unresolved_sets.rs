//! Deleted mappings of permission sets whose role is not known: their finalizers stay while an entry may be left.

use serde_json::json;

use crate::access_entry::{Call, Entries, InFlight};
use crate::desired::{Desired, Mapping};
use crate::observed::Mode;
use crate::plan::simulation::Simulation;
use crate::plan::{Memory, Outcome, plan};

fn arn(role: &str) -> String {
    format!("arn:aws:iam::111122223333:role/{role}")
}

/// The creation for a permission set is in flight when the process dies, before the status was stored. The mapping is deleted. The
/// next process can neither list the entries nor read IAM.
#[test]
fn a_deleted_permission_set_whose_role_is_not_known_keeps_its_finalizer() {
    const ROLE: &str = "aws-reserved/sso.amazonaws.com/AWSReservedSSO_dev_0123456789abcdef";
    let mut outlived = Vec::new();
    // Where IAM can be read, the finalizer stays.
    for (listed, iam) in [(false, true), (true, true), (false, false), (true, false)] {
        let mut simulation = Simulation::in_eks(Mode::Api, "");
        let now = simulation.now;
        simulation.cloud().in_flight = InFlight::since(now);
        simulation.later(300);
        let now = simulation.now;
        simulation.cloud().iam_lists(&[(&arn(ROLE), "AROA1")], now);
        let set = json!({"principal": {"permissionSet": {"name": "dev", "accountId": "111122223333"}}, "username": "u"});
        simulation.create("dev", "role/x", &set);
        simulation.cloud().slow = true;
        simulation.pass();
        assert!(
            matches!(simulation.cloud().calls.last(), Some(Call::Create { .. })),
            "{:?}",
            simulation.cloud().calls
        );
        // It takes effect, and nobody hears of it.
        simulation.edit("dev", |object| object.status = None);
        simulation.lose_answers(true);
        simulation.restart();
        simulation.later(2);
        let now = simulation.now;
        let cloud = simulation.cloud();
        cloud.slow = false;
        cloud.in_flight = InFlight::since(now);
        cloud.attempts.clear();
        cloud.known = Entries::default();
        if !iam {
            cloud.iam = crate::observed::Iam::default();
        }
        if listed {
            // It lags.
            simulation.list_without(&arn(ROLE));
        }
        simulation.delete("dev");
        simulation.pass();
        let exists = simulation.objects.contains_key("dev");
        let entry = simulation.access_entry(&format!("role/{ROLE}"));
        if !exists && entry.is_some() {
            outlived.push((listed, iam));
        }
    }
    assert_eq!(
        outlived,
        [],
        "(listed, IAM read): the entry outlives the mapping"
    );
}

/// An object that can't be decoded and names a permission set, without a status, is deleted. IAM and EKS show its role and its entry.
#[test]
fn an_object_that_can_not_be_decoded_keeps_its_finalizer_while_its_role_is_not_looked_for() {
    const ROLE: &str = "aws-reserved/sso.amazonaws.com/AWSReservedSSO_dev_0123456789abcdef";
    let mut simulation = Simulation::in_eks(Mode::Api, "");
    let now = simulation.now;
    simulation.cloud().iam_lists(&[(&arn(ROLE), "AROA1")], now);
    let principal = json!({"permissionSet": {"name": "dev", "accountId": "111122223333"}});
    simulation.create(
        "dev",
        "role/x",
        &json!({"principal": principal, "username": "u"}),
    );
    simulation.settle();
    assert!(simulation.access_entry(&format!("role/{ROLE}")).is_some());
    simulation.delete("dev");
    let metadata = &simulation.objects["dev"].metadata;
    let raw = json!({"spec": {"principal": principal, "adoption": "FromTheFuture"}});
    let desired = Desired {
        mappings: vec![Mapping::undecodable(metadata, "unknown variant", &raw)],
    };
    let (settings, memory) = (simulation.settings.clone(), Memory::default());
    let observed = simulation.observed();
    let planned = plan(&desired, &observed, &settings, &memory);
    let report = planned.report(&Outcome::NothingToWrite);
    assert!(
        report.change_finalizers.is_empty(),
        "its entry stands, with our tag, and no call takes it away ({:?}): {:?}",
        planned.entries,
        report.change_finalizers
    );
}
