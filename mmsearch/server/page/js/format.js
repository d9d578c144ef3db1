// Numbers, times and words for people.

export const KINDS = {
  image: { one: "Picture", many: "Pictures", icon: "image" },
  video: { one: "Video", many: "Videos", icon: "video" },
  audio: { one: "Sound", many: "Sounds", icon: "audio" },
  text: { one: "Text", many: "Texts", icon: "text" },
};

export const CHANNELS = { visual: "seen", sound: "heard", speech: "said", text: "written" };
export const CHANNEL_ICONS = { visual: "image", sound: "audio", speech: "mic", text: "text" };

// From which confidence on a match is called what; the level is how much of the meter is filled.
const WORDS = [
  { from: 0.9, words: "Strong match", level: 3 },
  { from: 0.6, words: "Good match", level: 2 },
  { from: 0.25, words: "Possible match", level: 1 },
  { from: 0.05, words: "Weak match", level: 0 },
  { from: 0, words: "Only near", level: 0 },
];

/** What a result's confidence is called: {words, number, level}. Without calibration, it is only how similar it is. */
export function matchWords(found) {
  if (found.confidence === null || found.confidence === undefined) {
    if (found.score === null) return { words: "Found", number: "by its words", level: null };
    return { words: "Similarity", number: found.score.toFixed(2), level: null };
  }
  const row = WORDS.find(({ from }) => found.confidence >= from) ?? WORDS.at(-1);
  return { words: row.words, number: percent(found.confidence), level: row.level };
}

export function percent(share) {
  if (share > 0 && share < 0.01) return "< 1 %";
  return `${Math.min(99, Math.round(share * 100))} %`; // nothing is certain
}

/** Seconds as 0:03, 12:03 or 1:02:03. */
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds + 1e-6));
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (number) => String(number).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

/** What was written as 90, 1:30 or 1:02:03 in seconds; null for what is none of them. */
export function readClock(text) {
  const parts = text.trim().split(":");
  if (!parts.length || parts.length > 3 || parts.some((part) => !/^\d+(\.\d+)?$/.test(part))) return null;
  return parts.reduce((sum, part) => sum * 60 + Number(part), 0);
}

/** How long something is: as a clock has it, or 0.4 s. */
export function length(seconds) {
  return seconds < 1 ? `${Math.max(0.1, seconds).toFixed(1)} s` : clock(seconds);
}

/** A stretch of time: 12:03–12:11, or 12:03.4 for what is over within that second; "" for what has no times. */
export function span(found) {
  if (found.start === null || found.start === undefined) return "";
  const [from, to] = [clock(found.start), found.end === null ? "" : clock(found.end)];
  if (!to) return from;
  const tenth = Math.floor((found.start % 1) * 10 + 1e-6);
  return from === to ? `${from}${tenth ? `.${tenth}` : ""}` : `${from}–${to}`;
}

/** The same as a screen reader should say it. */
export function spokenSpan(found) {
  return span(found).replace("–", " to ");
}

export function bytes(number) {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  let at = 0;
  for (; number >= 1000 && at < units.length - 1; at++) number /= 1000;
  return `${at && number < 10 ? number.toFixed(1) : Math.round(number)} ${units[at]}`;
}

export const count = (number) => new Intl.NumberFormat("en").format(number);

export const plural = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;

/** "2024-06-01T10:30:00" as a person writes it; what cannot be read is left as it is. */
export function date(text) {
  const when = new Date(text);
  if (Number.isNaN(when.valueOf())) return text;
  const how = { year: "numeric", month: "short", day: "numeric" };
  if (text.length > 10) Object.assign(how, { hour: "2-digit", minute: "2-digit" });
  if (text.length <= 10) how.timeZone = "UTC"; // a day alone is read as its beginning there
  return new Intl.DateTimeFormat(undefined, how).format(when);
}

/** A path in two parts: the folder, and the name. */
export function folderOf(path) {
  const at = Math.max(path.lastIndexOf("/"), path.lastIndexOf("\\"));
  return at > 0 ? path.slice(0, at) : path;
}

/** A long duration: 3.2 h, 12 min. */
export function longTime(hours) {
  if (hours >= 1) return `${hours.toFixed(hours < 10 ? 1 : 0)} h`;
  if (hours * 60 >= 1) return `${Math.round(hours * 60)} min`;
  return `${Math.round(hours * 3600)} s`;
}
