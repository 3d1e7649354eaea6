//! What every write has: a request id, a hash of its body, and for updates the names of its fields.

use prost::Message;
use prost_types::FieldMask;

use crate::rpc::limits::REQUEST_ID_CHARS_MAX;
use crate::rpc::parse::field::{Path, id, required, text};
use crate::types::refusal::{Reason, Refusal};
use crate::types::request::{Author, Change, ListChange, ListMutation, Mutation, Resource, Scope};

/// Which write a resource came with.
pub(in crate::rpc) enum Verb {
    /// Every field is taken.
    Create,
    /// The named fields are taken.
    Update(Option<FieldMask>),
}

/// The top-level fields of one kind of resource, by what an update may do with them.
pub(super) struct Shape {
    /// The resource's field in its request.
    pub(super) name: &'static str,
    /// May be changed.
    pub(super) mutable: &'static [&'static str],
    /// Stay as they were created.
    pub(super) fixed: &'static [&'static str],
}

/// Given by the engine in every kind of resource.
const GIVEN: [&str; 6] = ["id", "effective_status", "create_time", "update_time", "etag", "issues"];

/// The fields that a write takes.
pub(super) struct Fields {
    /// `None`: all, this is a create.
    named: Option<Vec<String>>,
}

impl Fields {
    /// Returns the fields of a write to a resource with this id.
    pub(super) fn new(verb: Verb, shape: &Shape, resource: u64) -> Result<Self, Refusal> {
        let Verb::Update(mask) = verb else {
            return Ok(Self { named: None });
        };
        id(resource, Path::root(shape.name).field("id"))?;
        let path = Path::root("update_mask");
        let named = mask.map_or(Vec::new(), |mask| mask.paths);
        required((!named.is_empty()).then_some(()), path)?;
        for (index, name) in named.iter().enumerate() {
            if let Some(message) = fault(name, shape, &named[..index]) {
                let paths = path.field("paths");
                return Err(paths.at(index).refuse(Reason::FieldInvalid, message));
            }
        }
        Ok(Self { named: Some(named) })
    }

    /// Tells whether the write takes this field.
    pub(super) fn take(&self, name: &str) -> bool {
        self.named.as_ref().is_none_or(|named| named.iter().any(|known| known == name))
    }

    /// Tells whether the write creates.
    pub(super) const fn create(&self) -> bool {
        self.named.is_none()
    }

    /// Returns the write of a checked resource.
    pub(super) fn change(self, resource: Resource) -> Change {
        match self.named {
            None => Change::Create(resource),
            Some(named) => Change::Update(resource, named),
        }
    }
}

fn fault(name: &str, shape: &Shape, before: &[String]) -> Option<String> {
    if before.iter().any(|known| known == name) {
        return Some(format!("{name:?} is there twice: name each field once"));
    }
    if shape.mutable.contains(&name) {
        return None;
    }
    let mutable = shape.mutable.join(", ");
    Some(if shape.fixed.contains(&name) {
        format!("{name:?} stays as it was created: make a new one, or change {mutable}")
    } else if GIVEN.contains(&name) {
        format!("{name:?} is given by the engine: change {mutable}")
    } else {
        format!("{name:?} is no top-level field of {}: change {mutable}", shape.name)
    })
}

/// Returns a whole write.
pub(in crate::rpc) fn mutation(
    scope: Scope,
    request_id: String,
    body_hash: [u8; 16],
    validate_only: bool,
    change: Change,
) -> Result<Mutation, Refusal> {
    check_request_id(&request_id)?;
    let Scope { tenant, any: any_tenant } = scope;
    Ok(Mutation {
        tenant,
        any_tenant,
        request_id,
        body_hash,
        by: Author::default(),
        validate_only,
        approve: false,
        change,
    })
}

/// Returns a whole write to the operator's lists.
pub(in crate::rpc) fn list_mutation(
    scope: Scope,
    request_id: String,
    body_hash: [u8; 16],
    change: ListChange,
) -> Result<ListMutation, Refusal> {
    check_request_id(&request_id)?;
    Ok(ListMutation { tenant: scope.tenant, request_id, body_hash, by: Author::default(), change })
}

/// Checks the caller's id of a write.
pub(super) fn check_request_id(request_id: &str) -> Result<(), Refusal> {
    text(request_id, REQUEST_ID_CHARS_MAX, Path::root("request_id"))
}

/// Returns what tells one write from another under the same request id: the first half of BLAKE3 over
/// the method's path and the request as it is encoded again here.
pub(in crate::rpc) fn body_hash(method: &str, request: &impl Message) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(method.as_bytes()).update(&[0]).update(&request.encode_to_vec());
    let mut half = [0; 16];
    half.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    half
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::proto::v1;

    const SHAPE: Shape =
        Shape { name: "account", mutable: &["name", "budget"], fixed: &["currency"] };

    #[test]
    fn a_mask_names_fields_that_can_change_once_each() {
        let fields = fields(&["name"]).unwrap();
        assert!(fields.take("name") && !fields.take("budget") && !fields.create());
        for (mask, says) in [
            (&["name", "name"][..], "twice"),
            (&["currency"], "stays as it was created"),
            (&["etag"], "given by the engine"),
            (&["naem"], "no top-level field of account"),
            (&["budget.daily"], "no top-level field of account"),
            (&["*"], "no top-level field of account"),
            (&[""], "no top-level field of account"),
        ] {
            let refusal = super::tests::fields(mask).map(|_| ()).unwrap_err();
            assert!(refusal.field.starts_with("update_mask.paths["), "{}", refusal.field);
            assert!(refusal.message.contains(says), "{}", refusal.message);
        }
        let none = super::tests::fields(&[]).map(|_| ()).unwrap_err();
        assert_eq!((none.reason, &*none.field), (Reason::FieldMissing, "update_mask"));
        let missing = Fields::new(Verb::Update(None), &SHAPE, 1).map(|_| ()).unwrap_err();
        assert_eq!(missing.field, "update_mask");
        let nameless = Fields::new(Verb::Update(None), &SHAPE, 0).map(|_| ()).unwrap_err();
        assert_eq!(nameless.field, "account.id");
    }

    #[test]
    fn a_create_takes_every_field() {
        let fields = Fields::new(Verb::Create, &SHAPE, 0).unwrap();
        assert!(fields.create() && fields.take("currency"));
    }

    #[test]
    fn a_request_id_is_needed_and_short() {
        let parse = |id: &str| {
            let change = Change::Create(Resource::Account(v1::Account::default()));
            let scope = Scope { tenant: 3, any: false };
            mutation(scope, id.into(), [0; 16], false, change).map_err(|refusal| refusal.reason)
        };
        assert_eq!(parse("a").unwrap().tenant, 3);
        assert_eq!(parse(""), Err(Reason::FieldMissing));
        assert!(parse(&"é".repeat(64)).is_ok());
        assert_eq!(parse(&"a".repeat(65)), Err(Reason::TooLarge));
    }

    #[test]
    fn the_body_hash_covers_method_and_body() {
        let body = v1::GetAccountRequest { id: 5 };
        let hash = body_hash("/a/B", &body);
        assert_eq!(hash, body_hash("/a/B", &body));
        assert_ne!(hash, body_hash("/a/C", &body));
        assert_ne!(hash, body_hash("/a/B", &v1::GetAccountRequest { id: 6 }));
    }

    fn fields(mask: &[&str]) -> Result<Fields, Refusal> {
        let paths = mask.iter().map(|&name| name.to_owned()).collect();
        Fields::new(Verb::Update(Some(FieldMask { paths })), &SHAPE, 1)
    }
}
