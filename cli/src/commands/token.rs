//! `orknet token`: bootstrap tokens, by which machines join a cluster. They are Secrets of the cluster: whoever may write those may make one.

use super::{daemon, join};
use crate::names::kubeconfig;
use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::Api;
use kube::api::{DeleteParams, ListParams, PostParams};
use orknet_auth::bootstrap_tokens::{
    DESCRIPTION, EXPIRATION, Expiry, GROUP, GROUPS, ID, NAME_PREFIX, NAMESPACE, SECRET, SECRET_TYPE, Token as Value, USAGE_PREFIX, USAGES,
    expiry, generate, is_for, is_group, is_id, text,
};
use std::path::PathBuf;

/// Makes, lists and deletes the tokens by which machines join the cluster.
#[derive(clap::Args)]
pub struct Token {
    /// Whose cluster it is (default: as kubectl does).
    #[arg(long, global = true)]
    kubeconfig: Option<PathBuf>,
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// Makes a token and prints it.
    Create(New),
    /// Shows the tokens that there are.
    List,
    /// Deletes tokens.
    Delete {
        /// The tokens, or their ids (the six characters before the dot).
        #[arg(required = true)]
        tokens: Vec<String>,
    },
}

#[derive(clap::Args)]
struct New {
    /// The token, such as abcdef.0123456789abcdef; a random one by default.
    token: Option<String>,
    /// How long it is good for, such as 24h or 30m; 0: until it is deleted.
    #[arg(long, default_value = "24h", value_parser = time_to_live)]
    ttl: SignedDuration,
    /// What it may be used for.
    #[arg(long, value_delimiter = ',', default_values = USAGES)]
    usages: Vec<String>,
    /// More groups of its holder; each begins with `system:bootstrappers:`.
    #[arg(long, value_delimiter = ',')]
    groups: Vec<String>,
    /// For people.
    #[arg(long, default_value = "")]
    description: String,
    /// Prints what to type on a machine that is to join, instead of the token.
    #[arg(long)]
    print_join_command: bool,
    /// Prints the kubeconfig by which a machine joins (`orknet kubelet --bootstrap-kubeconfig`), instead of the token.
    #[arg(long, conflicts_with = "print_join_command")]
    print_kubeconfig: bool,
}

/// Does it.
pub async fn run(options: Token) -> Result<()> {
    let client = daemon::client_with(kubeconfig::read(options.kubeconfig, None)?, "orknet").await?;
    let secrets = Api::<Secret>::namespaced(client.clone(), NAMESPACE);
    match options.what {
        What::Create(new) => {
            let token = match &new.token {
                Some(token) => token.clone(),
                None => generate()?,
            };
            let secret = secret(&token, &new, Timestamp::now())?;
            let printed = if new.print_join_command || new.print_kubeconfig {
                // Before the token is made: there is none then that nobody can use.
                let kubeconfig = join::bootstrap_kubeconfig(&cluster_info(client).await?, &token)?;
                if new.print_join_command { join::command(&kubeconfig) } else { kubeconfig }
            } else {
                format!("{token}\n")
            };
            secrets.create(&PostParams::default(), &secret).await.context("the token cannot be made")?;
            print!("{printed}");
        }
        What::List => {
            let found =
                secrets.list(&ListParams::default().fields(&format!("type={SECRET_TYPE}"))).await.context("the tokens cannot be read")?;
            let mut table = comfy_table::Table::new();
            table.load_preset(comfy_table::presets::NOTHING).set_header([
                "TOKEN",
                "TTL",
                "EXPIRES",
                "USAGES",
                "DESCRIPTION",
                "EXTRA GROUPS",
            ]);
            let now = Timestamp::now();
            for secret in &found.items {
                table.add_row(row(secret, now));
            }
            println!("{table}");
        }
        What::Delete { tokens } => {
            for token in tokens {
                let id = id(&token)?;
                secrets.delete(&format!("{NAME_PREFIX}{id}"), &DeleteParams::default()).await.with_context(|| format!("token {id}"))?;
                println!("bootstrap token {id:?} deleted");
            }
        }
    }
    Ok(())
}

/// What the cluster publishes of itself.
async fn cluster_info(client: kube::Client) -> Result<String> {
    let maps = Api::<ConfigMap>::namespaced(client, "kube-public");
    let map = maps.get_opt("cluster-info").await.context("cluster-info cannot be read")?;
    let text = map.and_then(|map| map.data?.remove("kubeconfig"));
    text.context("the cluster publishes no kube-public/cluster-info; remedy: controllers.apiServer in the server's settings")
}

fn secret(token: &str, new: &New, now: Timestamp) -> Result<Secret> {
    let Some(value) = Value::parse(token) else {
        bail!("{token:?} is no token; expected six and sixteen of a-z and 0-9, such as abcdef.0123456789abcdef")
    };
    let mut data = vec![(ID.to_owned(), value.id.to_owned()), (SECRET.to_owned(), value.secret.to_owned())];
    for usage in &new.usages {
        ensure!(USAGES.contains(&&usage[..]), "{usage:?} is no usage; expected {}", USAGES.join(" or "));
        data.push((format!("{USAGE_PREFIX}{usage}"), "true".into()));
    }
    for group in &new.groups {
        ensure!(is_group(group), "{group:?} is no group of a token; expected {GROUP}: and then a-z, 0-9, '-' and ':'");
    }
    if !new.groups.is_empty() {
        ensure!(new.usages.iter().any(|usage| usage == "authentication"), "groups are of tokens with the usage authentication alone");
        data.push((GROUPS.to_owned(), new.groups.join(",")));
    }
    if !new.description.is_empty() {
        data.push((DESCRIPTION.to_owned(), new.description.clone()));
    }
    if !new.ttl.is_zero() {
        let end = now.checked_add(new.ttl).context("--ttl is too long")?;
        data.push((EXPIRATION.to_owned(), end.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()));
    }
    Ok(Secret {
        metadata: ObjectMeta { name: Some(value.secret_name()), namespace: Some(NAMESPACE.into()), ..ObjectMeta::default() },
        type_: Some(SECRET_TYPE.into()),
        data: Some(data.into_iter().map(|(key, value)| (key, ByteString(value.into_bytes()))).collect()),
        ..Secret::default()
    })
}

fn row(secret: &Secret, now: Timestamp) -> [String; 6] {
    let or_none = |text: &str| if text.is_empty() { "<none>".to_owned() } else { text.to_owned() };
    let (left, end) = match expiry(secret, now) {
        Expiry::Never => ("<forever>".to_owned(), "<never>".to_owned()),
        Expiry::Past => ("<expired>".to_owned(), or_none(text(secret, EXPIRATION))),
        Expiry::At(end) => {
            let seconds = end.duration_since(now).as_secs();
            let left = match seconds {
                0..60 => format!("{seconds}s"),
                60..3600 => format!("{}m", seconds / 60),
                _ => format!("{}h", seconds / 3600),
            };
            (left, or_none(text(secret, EXPIRATION)))
        }
    };
    let usages: Vec<&str> = USAGES.into_iter().filter(|usage| is_for(secret, usage)).collect();
    let token = format!("{}.{}", text(secret, ID), text(secret, SECRET));
    [token, left, end, or_none(&usages.join(",")), or_none(text(secret, DESCRIPTION)), or_none(text(secret, GROUPS))]
}

/// The id of a token, or of what is one already.
fn id(text: &str) -> Result<&str> {
    let id = Value::parse(text).map(|token| token.id).or_else(|| is_id(text).then_some(text));
    id.with_context(|| format!("{text:?} is neither a token nor an id of one"))
}

fn time_to_live(text: &str) -> Result<SignedDuration, String> {
    let wrong = || format!("{text:?} is no time; expected such as 24h, 1h30m or 0");
    let read: SignedDuration = if text == "0" { SignedDuration::ZERO } else { text.parse().map_err(|_| wrong())? };
    if read.is_negative() { Err(wrong()) } else { Ok(read) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(groups: &[&str], ttl: &str) -> New {
        New {
            token: None,
            ttl: time_to_live(ttl).unwrap(),
            usages: USAGES.map(str::to_owned).into(),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            description: String::new(),
            print_join_command: false,
            print_kubeconfig: false,
        }
    }

    #[test]
    fn a_new_token_is_one_that_its_holder_gets_in_with() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let made = secret("abcdef.0123456789abcdef", &new(&["system:bootstrappers:a"], "1h30m"), now).unwrap();
        let token = Value::parse("abcdef.0123456789abcdef").unwrap();
        let holder = orknet_auth::bootstrap_tokens::identity(&token, &made, now).unwrap();
        assert!(holder.is_in("system:bootstrappers:a"));
        assert_eq!(
            row(&made, now),
            ["abcdef.0123456789abcdef", "1h", "2026-01-01T01:30:00Z", "signing,authentication", "<none>", "system:bootstrappers:a"]
        );
        assert_eq!(row(&secret("abcdef.0123456789abcdef", &new(&[], "0"), now).unwrap(), now)[1], "<forever>");
        assert!(secret("abcdef", &new(&[], "0"), now).is_err());
        assert!(secret("abcdef.0123456789abcdef", &new(&["system:masters"], "0"), now).is_err());
        assert_eq!(id("abcdef.0123456789abcdef").unwrap(), id("abcdef").unwrap());
        assert!(id("bootstrap-token-abcdef").is_err());
        assert!(time_to_live("-1h").is_err() && time_to_live("soon").is_err());
    }
}
