//! How fast, and when, a destination wants to be sent to: requests a second, windows of maintenance, and its own wish to be
//! left alone for a while.
//!
//! Requests go out evenly, one each so many milliseconds, and what was not used is not made up for. A window is a span of the
//! day in the destination's own zone, on some days of the week; one that ends before it begins ends on the next day.

use jiff::Timestamp;
use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;

/// A window of maintenance.
#[derive(Clone, PartialEq, Debug)]
pub struct Window {
    /// Days on which it begins.
    pub days: Vec<Weekday>,
    pub from: Time,
    pub until: Time,
    pub zone: TimeZone,
}

impl Window {
    /// A window as it is configured; the error says what is expected of which key.
    pub fn of(days: &[String], from: &str, until: &str, zone: &str) -> Result<Window, &'static str> {
        let days: Option<Vec<Weekday>> = days.iter().map(|day| weekday(day)).collect();
        let time = |text: &str| text.parse().map_err(|_| "from, until: a time of day such as 02:30");
        Ok(Window {
            days: days.filter(|days| !days.is_empty()).ok_or("days: of mon, tue, wed, thu, fri, sat, sun")?,
            from: time(from)?,
            until: time(until)?,
            zone: TimeZone::get(zone).map_err(|_| "zone: a zone such as Europe/Oslo")?,
        })
    }

    /// When it ends, if it is now.
    pub fn end(&self, now_ms: i64) -> Option<i64> {
        let now = Timestamp::from_millisecond(now_ms).ok()?.to_zoned(self.zone.clone());
        let (today, yesterday) = (now.date(), now.date().yesterday().ok()?);
        [today, yesterday].into_iter().filter(|day| self.days.contains(&day.weekday())).find_map(|day| {
            let last = if self.until > self.from { day } else { day.tomorrow().ok()? };
            let begin = day.to_datetime(self.from).to_zoned(self.zone.clone()).ok()?;
            let end = last.to_datetime(self.until).to_zoned(self.zone.clone()).ok()?;
            (begin <= now && now < end).then(|| end.timestamp().as_millisecond())
        })
    }
}

/// The names of days as they are configured.
fn weekday(name: &str) -> Option<Weekday> {
    Some(match name {
        "mon" => Weekday::Monday,
        "tue" => Weekday::Tuesday,
        "wed" => Weekday::Wednesday,
        "thu" => Weekday::Thursday,
        "fri" => Weekday::Friday,
        "sat" => Weekday::Saturday,
        "sun" => Weekday::Sunday,
        _ => return None,
    })
}

/// What a destination wants of its senders.
#[derive(Clone, Default, Debug)]
pub struct Pace {
    /// Milliseconds between two requests.
    every_ms: i64,
    windows: Vec<Window>,
    next_ms: i64,
    held_until_ms: i64,
}

impl Pace {
    /// `per_minute` is most requests of a minute; none for any.
    pub fn new(per_minute: Option<u32>, windows: Vec<Window>) -> Pace {
        let every_ms = per_minute.map_or(0, |per_minute| 60_000 / i64::from(per_minute.max(1)));
        Pace { every_ms, windows, next_ms: i64::MIN, held_until_ms: i64::MIN }
    }

    /// Takes the next turn to send; when it comes.
    pub fn take(&mut self, now_ms: i64) -> i64 {
        let turn = self.next_ms.max(now_ms);
        self.next_ms = turn.saturating_add(self.every_ms);
        turn
    }

    /// The destination said for how long it wants nothing.
    pub fn hold(&mut self, until_ms: i64) {
        self.held_until_ms = self.held_until_ms.max(until_ms);
    }

    /// Until when nothing is sent, if that is so now.
    pub fn closed_until(&self, now_ms: i64) -> Option<i64> {
        let windows = self.windows.iter().filter_map(|window| window.end(now_ms));
        let held = Some(self.held_until_ms).filter(|until| *until > now_ms);
        windows.chain(held).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> i64 {
        text.parse::<Timestamp>().expect("a timestamp").as_millisecond()
    }

    fn window(days: &[&str], from: &str, until: &str, zone: &str) -> Window {
        let days: Vec<String> = days.iter().map(|day| (*day).to_owned()).collect();
        Window::of(&days, from, until, zone).expect("a window")
    }

    #[test]
    fn what_is_no_window_is_said() {
        for (days, from, zone, expected) in [
            ("someday", "02:00", "UTC", "days:"),
            ("sun", "25:00", "UTC", "from, until:"),
            ("sun", "02:00", "Europe/Atlantis", "zone:"),
        ] {
            let wrong = Window::of(&[days.to_owned()], from, "04:00", zone).expect_err("a mistake");
            assert!(wrong.starts_with(expected), "{wrong}");
        }
    }

    #[test]
    fn a_window_is_where_the_destination_is() {
        let sunday = window(&["sun"], "02:00", "04:00", "Europe/Oslo");
        let night = window(&["sat"], "23:30", "01:00", "UTC");
        for (window, now, expected) in [
            (&sunday, "2026-11-22T00:59:59Z", None),
            (&sunday, "2026-11-22T01:00:00Z", Some("2026-11-22T03:00:00Z")),
            (&sunday, "2026-11-22T03:00:00Z", None),
            (&sunday, "2026-11-23T01:30:00Z", None),
            // Summer there.
            (&sunday, "2026-06-21T01:30:00Z", Some("2026-06-21T02:00:00Z")),
            (&night, "2026-11-21T23:45:00Z", Some("2026-11-22T01:00:00Z")),
            (&night, "2026-11-22T00:59:00Z", Some("2026-11-22T01:00:00Z")),
            (&night, "2026-11-22T23:45:00Z", None),
        ] {
            assert_eq!(window.end(at(now)), expected.map(at), "{now}");
        }
    }

    #[test]
    fn requests_go_out_evenly_and_nothing_is_made_up_for() {
        let mut pace = Pace::new(Some(120), Vec::new());
        let turns: Vec<i64> = [1000, 1000, 1100, 9000, 9000].map(|now| pace.take(now)).to_vec();
        assert_eq!(turns, [1000, 1500, 2000, 9000, 9500]);
        let mut free = Pace::new(None, Vec::new());
        assert_eq!([free.take(5), free.take(5)], [5, 5]);
    }

    #[test]
    fn it_is_closed_by_the_longer_of_what_closes_it() {
        let mut pace = Pace::new(None, vec![window(&["sun"], "02:00", "04:00", "UTC")]);
        let now = at("2026-11-22T02:30:00Z");
        assert_eq!(pace.closed_until(now), Some(at("2026-11-22T04:00:00Z")));
        pace.hold(at("2026-11-22T05:00:00Z"));
        pace.hold(at("2026-11-22T03:00:00Z"));
        assert_eq!(pace.closed_until(now), Some(at("2026-11-22T05:00:00Z")));
        assert_eq!(pace.closed_until(at("2026-11-22T05:00:00Z")), None);
    }
}
