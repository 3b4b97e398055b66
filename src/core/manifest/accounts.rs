//! [`Accounts`]: who there is on a host, as its own tables say.

use crate::permissions::HostUser;

/// The tables of a host's users and groups.
#[derive(Clone, Copy, Debug, Default)]
pub struct Accounts<'a> {
    /// What is in `/etc/passwd`: see `passwd(5)`.
    pub users: &'a str,
    /// What is in `/etc/group`: see `group(5)`.
    pub groups: &'a str,
}

impl<'a> Accounts<'a> {
    /// The user of this name or number, with its own group. A number that nobody has is a user all the same, whose group has
    /// the same number.
    pub(crate) fn user(&self, written: &str) -> Option<HostUser> {
        // The largest number means nobody at all: see chown(2).
        let number = written.parse().ok().filter(|number| *number != u32::MAX);
        let entries = lines(self.users).filter_map(|fields| {
            let [name, _, uid, gid, ..] = fields[..] else { return None };
            Some((name, HostUser { uid: uid.parse().ok()?, gid: gid.parse().ok()? }))
        });
        let mut meant =
            entries.filter(|(name, user)| number.map_or(*name == written, |number| user.uid == number));
        meant
            .next()
            .map(|(_, user)| user)
            .or_else(|| number.map(|number| HostUser { uid: number, gid: number }))
    }

    /// The number of the group of this name or number.
    pub(crate) fn group(&self, written: &str) -> Option<u32> {
        written.parse().ok().filter(|number| *number != u32::MAX).or_else(|| {
            let mut meant = lines(self.groups).filter(|fields| fields.first() == Some(&written));
            meant.next()?.get(2)?.parse().ok()
        })
    }

    /// What the users are called, or the groups.
    pub(crate) fn names(table: &'a str) -> impl Iterator<Item = &'a str> {
        lines(table).filter_map(|fields| fields.first().copied())
    }
}

fn lines(table: &str) -> impl Iterator<Item = Vec<&str>> {
    table.lines().filter(|line| !line.starts_with('#')).map(|line| line.split(':').collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_or_a_number_is_somebody() {
        let accounts = Accounts {
            users: "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:34:web:/var/www:/bin/false\nbroken\n",
            groups: "# a remark\nroot:x:0:\nweb:x:35:ann,www-data\n",
        };
        let user = |uid, gid| Some(HostUser { uid, gid });
        for (written, expected) in [
            ("www-data", user(33, 34)),
            ("33", user(33, 34)),
            ("7000", user(7000, 7000)),
            ("root", user(0, 0)),
            ("broken", None),
            ("www", None),
            ("-1", None),
            ("4294967295", None),
        ] {
            assert_eq!(accounts.user(written), expected, "{written}");
        }
        assert_eq!(
            (accounts.group("web"), accounts.group("36"), accounts.group("ann")),
            (Some(35), Some(36), None)
        );
    }
}
