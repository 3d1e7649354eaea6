//! `munadi keys new`: makes an API key and shows it once.

use std::fmt::Write;

use clap::{Args, Subcommand};
use data_encoding::BASE32_DNSSEC;
use rand::TryRng;
use rand::rngs::SysRng;

use crate::cli::{Failure, tell};
use crate::guard::{Key, Keys, Role, secret_blake3};

/// Random bytes of a secret.
const SECRET_BYTES: usize = 32;

#[derive(Debug, Args)]
pub(super) struct KeysArguments {
    #[command(subcommand)]
    command: KeysCommand,
}

#[derive(Debug, Subcommand)]
enum KeysCommand {
    /// Make a key: shows it once, with the lines that the configuration needs.
    New(NewArguments),
}

#[derive(Debug, Args)]
struct NewArguments {
    /// Names the key in the configuration and in logs: lower-case letters, digits and hyphens.
    #[arg(long)]
    id: String,
    /// What its bearer is: operator, advertiser, feed, chat or analytics.
    #[arg(long)]
    role: Role,
    /// Whose key it is: a number of your choice; for a feed the feed's id. 0, the platform itself, is
    /// for operator, chat and analytics only.
    #[arg(long)]
    tenant: u32,
}

pub(super) fn run(arguments: &KeysArguments) -> Result<(), Failure> {
    let KeysCommand::New(new) = &arguments.command;
    let mut random = [0; SECRET_BYTES];
    SysRng.try_fill_bytes(&mut random)?;
    tell(std::io::stdout(), made(new, &random)?);
    Ok(())
}

fn made(new: &NewArguments, random: &[u8]) -> Result<String, Failure> {
    let secret = BASE32_DNSSEC.encode(random);
    let (id, role, tenant) = (&new.id, new.role, new.tenant);
    let secret_blake3 = secret_blake3(&secret);
    // What the server would refuse is refused here.
    Keys::new([Key { id: id.clone(), role, tenant, secret_blake3: secret_blake3.clone() }])?;
    let mut text = String::new();
    writeln!(text, "# Hand this to its bearer. It is shown once and kept nowhere.")?;
    writeln!(text, "mk_{id}_{secret}")?;
    writeln!(text, "\n# Put this into the server's configuration. It holds no secret.")?;
    writeln!(text, "[[keys]]\nid = \"{id}\"\nrole = \"{role}\"\ntenant = {tenant}")?;
    write!(text, "secret_blake3 = \"{secret_blake3}\"")?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_opens_with_the_lines_it_was_shown_with() {
        let new = NewArguments { id: "feed-7".into(), role: Role::Feed, tenant: 7 };
        let text = made(&new, &[5; SECRET_BYTES]).unwrap();
        let bearer = text.lines().find(|line| line.starts_with("mk_")).unwrap();
        let hash = text.lines().last().unwrap().split('"').nth(1).unwrap();
        let (id, secret_blake3) = ("feed-7".into(), hash.into());
        let keys = Keys::new([Key { id, role: Role::Feed, tenant: 7, secret_blake3 }]).unwrap();
        let caller = keys.caller(format!("Bearer {bearer}").as_bytes()).unwrap();
        assert_eq!(caller.tenant, 7);
        assert_eq!(text.matches(bearer.split('_').nth(2).unwrap()).count(), 1);
    }

    #[test]
    fn a_key_that_no_server_takes_is_not_made() {
        let new = NewArguments { id: "Feed 7".into(), role: Role::Feed, tenant: 7 };
        assert!(made(&new, &[5; SECRET_BYTES]).is_err());
        let new = NewArguments { id: "feed-7".into(), role: Role::Feed, tenant: 0 };
        assert!(made(&new, &[5; SECRET_BYTES]).is_err());
    }
}
