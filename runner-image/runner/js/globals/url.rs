//! `URL` and `URLSearchParams`, on the crate that implements the web's URL standard.

use rquickjs::{Ctx, Function, Object, Result};
use url::{Url, form_urlencoded, quirks};

use super::lazy::Script;

const URL: Script = Script { name: "url", source: include_str!("url.js"), natives };

/// Makes them.
///
/// # Errors
/// Where there is no memory for them.
pub(super) fn install(ctx: &Ctx<'_>) -> Result<()> {
    URL.install(ctx, &["URL", "URLSearchParams"])
}

fn natives<'js>(ctx: &Ctx<'js>, natives: &Object<'js>) -> Result<()> {
    natives.set("parse", Function::new(ctx.clone(), parse)?)?;
    natives.set("get", Function::new(ctx.clone(), get)?)?;
    natives.set("set", Function::new(ctx.clone(), set)?)?;
    natives.set("parseForm", Function::new(ctx.clone(), parse_form)?)?;
    natives.set("writeForm", Function::new(ctx.clone(), write_form)?)
}

/// The whole URL; none if it is no URL.
fn parse(input: String, base: Option<String>) -> Option<String> {
    let base = match base {
        Some(base) => Some(Url::parse(&base).ok()?),
        None => None,
    };
    Url::options().base_url(base.as_ref()).parse(&input).ok().map(Into::into)
}

/// A part of a URL, by the name that it has in JavaScript.
fn get(href: String, part: String) -> Option<String> {
    let url = Url::parse(&href).ok()?;
    Some(match part.as_str() {
        "origin" => quirks::origin(&url),
        "protocol" => quirks::protocol(&url).to_owned(),
        "username" => quirks::username(&url).to_owned(),
        "password" => quirks::password(&url).to_owned(),
        "host" => quirks::host(&url).to_owned(),
        "hostname" => quirks::hostname(&url).to_owned(),
        "port" => quirks::port(&url).to_owned(),
        "pathname" => quirks::pathname(&url).to_owned(),
        "search" => quirks::search(&url).to_owned(),
        "hash" => quirks::hash(&url).to_owned(),
        _ => return None,
    })
}

/// The URL with another part. A value that cannot be there changes nothing, as the standard says.
fn set(href: String, part: String, value: String) -> Option<String> {
    let mut url = Url::parse(&href).ok()?;
    let value = value.as_str();
    let changed = match part.as_str() {
        "protocol" => quirks::set_protocol(&mut url, value),
        "username" => quirks::set_username(&mut url, value),
        "password" => quirks::set_password(&mut url, value),
        "host" => quirks::set_host(&mut url, value),
        "hostname" => quirks::set_hostname(&mut url, value),
        "port" => quirks::set_port(&mut url, value),
        "pathname" => {
            quirks::set_pathname(&mut url, value);
            Ok(())
        }
        "search" => {
            quirks::set_search(&mut url, value);
            Ok(())
        }
        "hash" => {
            quirks::set_hash(&mut url, value);
            Ok(())
        }
        _ => return None,
    };
    Some(if changed.is_ok() { url.into() } else { href })
}

/// Names and values in turn.
fn parse_form(text: String) -> Vec<String> {
    form_urlencoded::parse(text.as_bytes()).flat_map(|(name, value)| [name.into(), value.into()]).collect()
}

/// Of names and values in turn.
fn write_form(parts: Vec<String>) -> String {
    let pairs = parts.as_chunks::<2>().0.iter().map(|[name, value]| (name, value));
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}
