//! No earlier caller and no journal is left behind: against the descriptors of the first version, no field, value
//! or method is gone, renumbered or of another type. `buf breaking` compares the same in `.ci/run`.

use std::collections::BTreeMap;

use munadi::types::proto::DESCRIPTORS;
use prost::Message;
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorSet};

/// What `buf build proto --exclude-source-info` made of the first version.
const FIRST: &[u8] = include_bytes!("../golden/interface_v1.binpb");

/// What must stay, by its full name: of fields their name, type and whether there are many, of values their
/// number, of methods what goes in and out.
type Promises = BTreeMap<String, String>;

fn promises(set: &FileDescriptorSet) -> Promises {
    let mut promises = Promises::new();
    let ours = set.file.iter().filter(|file| file.package().starts_with("munadi."));
    for file in ours {
        let package = file.package();
        for message in &file.message_type {
            promise_message(&mut promises, package, message);
        }
        for values in &file.enum_type {
            promise_values(&mut promises, package, values);
        }
        for service in &file.service {
            for method in &service.method {
                let name = format!("{package}.{}/{}", service.name(), method.name());
                let streams = (method.client_streaming(), method.server_streaming());
                let said =
                    format!("{} to {} {streams:?}", method.input_type(), method.output_type());
                promises.insert(name, said);
            }
        }
    }
    promises
}

fn promise_message(promises: &mut Promises, scope: &str, message: &DescriptorProto) {
    let scope = format!("{scope}.{}", message.name());
    for field in &message.field {
        let oneof = field.oneof_index.filter(|_| !field.proto3_optional());
        let oneof = oneof.and_then(|index| message.oneof_decl.get(index as usize));
        let said = format!(
            "{} {:?} {} {:?} {}",
            field.name(),
            field.r#type(),
            field.type_name(),
            field.label(),
            oneof.map_or("", |oneof| oneof.name()),
        );
        promises.insert(format!("{scope} {}", field.number()), said);
    }
    message.nested_type.iter().for_each(|nested| promise_message(promises, &scope, nested));
    message.enum_type.iter().for_each(|values| promise_values(promises, &scope, values));
}

fn promise_values(promises: &mut Promises, scope: &str, values: &EnumDescriptorProto) {
    for value in &values.value {
        let name = format!("{scope}.{} {}", values.name(), value.number());
        promises.insert(name, value.name().to_owned());
    }
}

/// Returns what was promised and does not hold any more.
fn broken(first: &FileDescriptorSet, now: &FileDescriptorSet) -> Vec<String> {
    let now = promises(now);
    let first = promises(first).into_iter();
    let broken = first.filter(|(name, said)| now.get(name) != Some(said));
    broken.map(|(name, said)| format!("{name} was {said:?}, is {:?}", now.get(&name))).collect()
}

#[test]
fn nothing_that_was_promised_is_gone() {
    let first = FileDescriptorSet::decode(FIRST).unwrap();
    let now = FileDescriptorSet::decode(DESCRIPTORS).unwrap();
    assert!(promises(&first).len() > 1_000);
    let broken = broken(&first, &now);
    assert!(broken.is_empty(), "callers or journals are left behind:\n{}", broken.join("\n"));
}

#[test]
fn each_break_is_seen() {
    let first = FileDescriptorSet::decode(FIRST).unwrap();
    let facts = |set: &FileDescriptorSet| {
        set.file.iter().position(|file| file.package() == "munadi.journal.v1").unwrap()
    };
    let at = facts(&first);
    let broken_by = |change: &dyn Fn(&mut FileDescriptorSet)| {
        let mut now = first.clone();
        change(&mut now);
        broken(&first, &now).len()
    };
    assert_eq!(broken_by(&|_| {}), 0);
    let field = |set: &mut FileDescriptorSet, change: &dyn Fn(&mut DescriptorProto)| {
        change(&mut set.file[at].message_type[0]);
    };
    assert_eq!(broken_by(&|set| field(set, &|it| drop(it.field.pop()))), 1, "gone");
    assert_eq!(broken_by(&|set| field(set, &|it| it.field[0].number = Some(99))), 1, "renumbered");
    assert_eq!(broken_by(&|set| field(set, &|it| it.field[0].r#type = Some(9))), 1, "retyped");
    assert_eq!(
        broken_by(&|set| field(set, &|it| it.field[0].name = Some("x".into()))),
        1,
        "renamed"
    );
    let is_service = |set: &FileDescriptorSet| {
        set.file.iter().position(|file| !file.service.is_empty()).unwrap()
    };
    let service = is_service(&first);
    assert_eq!(broken_by(&|set| drop(set.file[service].service[0].method.pop())), 1, "no method");
    assert!(broken_by(&|set| drop(set.file.remove(at))) > 100, "no file");
    let more = |set: &mut FileDescriptorSet| {
        let message = &mut set.file[at].message_type[0];
        let mut field = message.field[0].clone();
        (field.number, field.name) = (Some(500), Some("more".into()));
        message.field.push(field);
    };
    assert_eq!(broken_by(&more), 0, "more is no break");
}
