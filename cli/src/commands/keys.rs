//! `orknet keys`: the keys that tokens of service accounts are signed with and verified by.

use anyhow::{Context, Result, bail};
use orknet_auth::account_keys::{self, AccountKeys};
use std::path::PathBuf;

/// Shows and rotates the keys of service accounts' tokens. Run it on the server's host; a server reads its keys when it starts.
#[derive(clap::Args)]
pub struct Keys {
    /// The server's directory of keys.
    #[arg(long, global = true, default_value = "/var/lib/orknet/server/pki")]
    pki_dir: PathBuf,
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// Shows the keys that there are.
    List,
    /// Makes the key that will sign after the next rotation, for it to be accepted everywhere before: with several servers, copy sa-next.key to each.
    Prepare,
    /// Lets the prepared key sign, or a new one where none is prepared. What signed until now is accepted on.
    Rotate,
    /// Accepts the tokens of former keys no more.
    Remove {
        /// The keys' ids; after `--`, where one begins with a dash.
        #[arg(required = true)]
        ids: Vec<String>,
    },
}

/// Does it. Blocking.
pub fn run(options: Keys) -> Result<()> {
    let directory = &options.pki_dir;
    let hint = "no keys; remedy: run this on the server's host once the server has run, or name its directory (--pki-dir)";
    let keys = AccountKeys::open(directory).context(hint)?;
    match options.what {
        What::List => {
            println!("{:<9} ID", "USE");
            println!("{:<9} {}", "signs", keys.signing.public.id);
            keys.next.iter().for_each(|key| println!("{:<9} {}", "next", key.id));
            keys.former.iter().for_each(|key| println!("{:<9} {}", "accepted", key.id));
        }
        What::Prepare => {
            let id = account_keys::prepare(directory)?;
            println!("{id} signs after the next rotation: start the servers anew, so that they accept it, before you rotate");
        }
        What::Rotate => {
            let (now, former) = account_keys::rotate(directory)?;
            println!("{now} signs once the server is started anew; {former} is accepted until it is removed");
        }
        What::Remove { ids } => {
            for id in ids {
                if id == keys.signing.public.id {
                    bail!("{id} is the key that signs; remedy: rotate first");
                }
                if !account_keys::remove(directory, &id)? {
                    bail!("there is no former key {id}; remedy: `orknet keys list` shows those that there are");
                }
                println!("{id}: its tokens are refused once the server is started anew");
            }
        }
    }
    Ok(())
}
