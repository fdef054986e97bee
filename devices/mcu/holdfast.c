/* The protocol's state, its frames, and a JSON reader that neither recurses nor copies. See holdfast.h. */
#include "holdfast.h"
#include <string.h>

#ifdef __AVR__ /* Constant text stays in flash: literals would take RAM, of which there is little. */
#include <avr/pgmspace.h>
#define FLASH PROGMEM
#define LITERAL(text) PSTR(text)
#define FLASH_CHAR(at) ((char)pgm_read_byte(at))
#else
#define FLASH
#define LITERAL(text) (text)
#define FLASH_CHAR(at) (*(at))
#endif
/* These are said and heard. */
static const char command_id[] FLASH = "command_id", job_id[] FLASH = "job_id", seq[] FLASH = "seq", ref[] FLASH = "ref", ts[] FLASH = "ts";
typedef char line_fits[((HF_LINE_MAX >= 96u) && (HF_LINE_MAX <= 4096u)) ? 1 : -1];
typedef char counts_fit[((HF_DEPTH < 256u) && (HF_QUEUE <= 128u) && (HF_COMMANDS <= 128u)) ? 1 : -1];

#define RESEND_S 2u
#define SILENCE_S 60u /* a gateway that is there asks after 15 s of our silence */
#define TIME_EVERY_S 3600u
#define HELLO_MOST_S 64u
#define SETTLED_S 60u /* a command that was not answered comes again long before */
#define CRC_DIGITS 8u

enum { IDLE, DUE, SENT, OLD };    /* what waits for an answer: every RESEND_S, SENT becomes OLD and OLD becomes DUE */
enum { FREE, ANSWERED, SETTLED }; /* a slot of a command */
hf_client hf;

/* ---- Values ---- */

static hf_slice slice_of(const char *from, const char *to) { return (hf_slice){from, (hf_length)(to - from)}; }
static hf_value value_with(hf_kind kind, int32_t number) { return (hf_value){(uint8_t)kind, 0, {number}}; }
static hf_value text_with(hf_kind kind, const char *from, const char *to) {
  return (hf_value){(uint8_t)kind, 0, {.text = slice_of(from, to)}};
}

hf_value hf_null(void) { return value_with(HF_NULL, 0); }
hf_value hf_bool(bool is_true) { return value_with(HF_BOOL, is_true ? 1 : 0); }
hf_value hf_text(const char *text) { return text_with(HF_TEXT, text, text + strlen(text)); }
hf_value hf_number(int32_t number, uint8_t decimals) {
  return (hf_value){HF_NUMBER, (decimals > 9u) ? 9u : decimals, {number}};
}

bool hf_is(hf_slice slice, const char *text) {
  return (strlen(text) == slice.length) && (memcmp(slice.at, text, slice.length) == 0);
}

bool hf_scaled(const hf_value *value, uint8_t decimals, int32_t *number) {
  uint8_t at = value->decimals;
  bool fits = value->kind == (uint8_t)HF_NUMBER;
  *number = value->as.number;
  for (; at > decimals; at--) *number /= 10;
  for (; fits && (at < decimals); at++) {
    fits = (*number <= (INT32_MAX / 10)) && (*number >= -(INT32_MAX / 10));
    if (fits) *number *= 10;
  }
  return fits;
}

bool hf_copy_text(const hf_value *value, char *to, hf_length size) {
  const hf_length length = (value->kind == (uint8_t)HF_TEXT) ? value->as.text.length : 0u;
  hf_length i = 0;
  for (; (i < length) && (size > 1u); i++) {
    char c = value->as.text.at[i];
    if ((c == '\\') && ((i + 1u) < length)) c = value->as.text.at[++i]; /* of control characters the letter stays */
    *to++ = c;
    size--;
  }
  if (size > 0u) *to = '\0';
  return (value->kind == (uint8_t)HF_TEXT) && (size > 0u) && (i >= length);
}

/* ---- JSON, read in place: what is none ends the reading, and reading never leaves the line ---- */

static bool is_digit(char c) { return (c >= '0') && (c <= '9'); }
static bool is_between(char c) { return (c == ' ') || (c == '\t') || (c == ',') || (c == ':'); }
static const char *skip_between(const char *at, const char *end) { while ((at < end) && is_between(*at)) at++; return at; }

/* Each gives what comes after it, and its end where there is none. */
static const char *skip_string(const char *at, const char *end) {
  for (at++; (at < end) && (*at != '"'); at++) at += (*at == '\\') ? 1 : 0;
  return (at < end) ? (at + 1) : end;
}

static const char *skip_value(const char *at, const char *end) {
  uint8_t depth = 0;
  do {
    const char *const from = at;
    const char c = (at < end) ? *at : '\0';
    if (c == '"') at = skip_string(at, end);
    else if (((c == '{') || (c == '[')) && (depth < HF_DEPTH)) { depth++; at++; }
    else if (((c == '}') || (c == ']')) && (depth > 0u)) { depth--; at++; }
    else if ((depth > 0u) && is_between(c)) at++;
    else while ((at < end) && !is_between(*at) && (memchr("\"{}[]", *at, 5) == NULL)) at++;
    if (at == from) return end; /* it is no JSON */
  } while (depth > 0u);
  return at;
}

static hf_value value_of(hf_slice json) {
  const char *const end = json.at + json.length;
  const char *at = json.at;
  const char first = (json.length == 0u) ? 'n' : *at;
  int32_t number = 0;
  uint8_t digits = 0, decimals = 0;
  bool has_point = false;
  if (first == 'n') return hf_null();
  if ((first == 't') || (first == 'f')) return hf_bool(first == 't');
  if (first == '"') return text_with(HF_TEXT, at + 1, end - 1);
  if (first == '-') at++;
  for (; (at < end) && (is_digit(*at) || (*at == '.')) && (digits < 9u) && (decimals < 9u); at++) {
    if (has_point) decimals++;
    if (*at == '.') has_point = true;
    else number = (number * 10) + (*at - '0');
    if ((number != 0) && (*at != '.')) digits++;
  }
  return (at < end) ? text_with(HF_OTHER, json.at, end) : hf_number((first == '-') ? -number : number, decimals);
}

/* Goes down a path as "a/b" of an object: what is no object has nothing. */
static bool find(hf_slice *json, const char *path) {
  while (*path != '\0') {
    const char *const end = json->at + json->length;
    const char *at = json->at;
    hf_slice key;
    uint8_t length = 0;
    while ((path[length] != '\0') && (path[length] != '/')) length++;
    if ((json->length == 0u) || (*at != '{')) return false;
    at++;
    do {
      const char *const from = skip_between(at, end);
      if ((from == end) || (*from != '"')) return false;
      at = skip_string(from, end);
      key = slice_of(from + 1, at - 1);
      json->at = skip_between(at, end);
      at = skip_value(json->at, end);
      if (at == end) return false;
    } while ((key.length != length) || (memcmp(key.at, path, length) != 0));
    json->length = (hf_length)(at - json->at);
    path += length;
    if (*path == '/') path++;
  }
  return json->length > 0u;
}

bool hf_find(hf_slice json, const char *path, hf_value *found) {
  const bool is_found = find(&json, path);
  *found = is_found ? value_of(json) : hf_null();
  return is_found;
}

/* ---- What leaves: byte by byte, its checksum reckoned as it goes ---- */

static uint32_t crc_add(uint32_t crc, char byte) {
  crc ^= (uint8_t)byte;
  for (uint8_t bit = 0; bit < 8u; bit++) crc = ((crc & 1u) != 0u) ? ((crc >> 1) ^ 0xEDB88320u) : (crc >> 1);
  return crc;
}

static uint32_t crc_of(hf_slice slice) {
  uint32_t crc = UINT32_MAX;
  for (; slice.length > 0u; slice.length--) crc = crc_add(crc, *slice.at++);
  return ~crc;
}

/* The leftmost of the digits, which it takes off. */
static char hex_digit(uint32_t *crc) {
  const uint8_t digit = (uint8_t)((uint8_t)(*crc >> 24) >> 4);
  *crc <<= 4;
  return (char)((digit < 10u) ? ('0' + digit) : ('A' + (digit - 10)));
}

static uint16_t now_s(void) { return (uint16_t)hf.uptime_s; }
static uint16_t since(uint16_t then_s) { return (uint16_t)(now_s() - then_s); }
static void tick(void) {
  const uint16_t now_ms = (uint16_t)hf.config->now_ms(hf.config->user);
  const uint16_t ms = (uint16_t)(hf.uptime_ms + (uint16_t)(now_ms - hf.ticked_ms));
  hf.ticked_ms = now_ms;
  hf.uptime_s += ms / 1000u;
  hf.uptime_ms = ms % 1000u;
}

static void put(char byte) {
  hf.crc = crc_add(hf.crc, byte);
  hf.config->send(hf.config->user, (uint8_t)byte);
}

static void put_literal(const char *text) {
  for (; FLASH_CHAR(text) != '\0'; text++) put(FLASH_CHAR(text));
}

static void put_key(const char *key) {
  put_literal(LITERAL(",\""));
  put_literal(key);
  put_literal(LITERAL("\":"));
}

static void put_quoted(hf_slice text) {
  put('"');
  for (; text.length > 0u; text.length--) {
    const char byte = *text.at++;
    if ((byte == '"') || (byte == '\\')) put('\\');
    put(((uint8_t)byte < 0x20u) ? '?' : byte);
  }
  put('"');
}

static void put_text(const char *key, const char *text) {
  put_key(key);
  put_quoted(slice_of(text, text + strlen(text)));
}

/* At least so many digits, the point before the last `decimals`. */
static void put_digits(uint32_t number, uint8_t least, uint8_t decimals) {
  char digits[10];
  uint8_t count = 0;
  for (; (number > 0u) || (count < least); number /= 10u) digits[count++] = (char)('0' + (uint8_t)(number % 10u));
  while (count > 0u) {
    if ((count == decimals) && (decimals > 0u)) put('.');
    put(digits[--count]);
  }
}

static void put_count(const char *key, uint32_t count) { put_key(key); put_digits(count, 1, 0); }

static void put_value(const hf_value *value) {
  uint32_t number = (uint32_t)value->as.number;
  if (value->kind == (uint8_t)HF_TEXT) put_quoted(value->as.text);
  else if (value->kind == (uint8_t)HF_NUMBER) {
    if (value->as.number < 0) { put('-'); number = 0u - number; }
    put_digits(number, (uint8_t)(value->decimals + 1u), value->decimals);
  } else if (value->kind == (uint8_t)HF_BOOL) put_literal((number != 0u) ? LITERAL("true") : LITERAL("false"));
  else put_literal(LITERAL("null"));
}

static void begin(const char *kind) {
  hf.crc = UINT32_MAX;
  put_literal(LITERAL("{\"t\":\""));
  put_literal(kind);
  put('"');
}

static void end(void) {
  put('}');
  uint32_t crc = ~hf.crc;
  put('*');
  for (uint8_t i = 0; i < CRC_DIGITS; i++) put(hex_digit(&crc));
  put('\n');
}

static void say(const char *kind) { begin(kind); end(); }

static void say_hello(void) {
  put('\n'); /* ends the noise of a reset */
  begin(LITERAL("hello"));
  put_text(LITERAL("id"), hf.config->id);
  put_text(LITERAL("model"), hf.config->model);
  put_text(LITERAL("version"), hf.config->version);
  put_text(LITERAL("boot"), hf.config->boot);
  put_literal(LITERAL(",\"v\":1,\"crc\":32"));
  put_count(LITERAL("max_line"), HF_LINE_MAX);
  end();
}

bool hf_time(uint32_t *epoch_s) { *epoch_s = hf.epoch_s + hf.uptime_s; return hf.is_trusted; }

static hf_point *point_at(uint8_t index) { return &hf.queue[(uint8_t)(hf.queue_first + index) % HF_QUEUE]; }
static hf_leaf *leaf_at(uint8_t index) { return (index == hf.config->leaf_count) ? &hf.dropped : &hf.config->leaves[index]; }

static void say_point(uint8_t index) {
  const hf_point *const point = point_at(index);
  begin(LITERAL("telemetry"));
  put_text(LITERAL("series"), point->series);
  put_key(LITERAL("value"));
  put_value(&point->value);
  if (hf.is_trusted) { put_count(ts, hf.epoch_s + point->at_s); put_digits(hf.epoch_ms, 3, 0); }
  put_count(seq, (hf.seq - hf.queue_length) + index);
  end();
}

static void say_leaf(hf_leaf *leaf) {
  uint8_t depth = 1;
  leaf->ref = ++hf.ref;
  begin(LITERAL("reported"));
  put_literal(LITERAL(",\"state\":{\""));
  for (const char *at = leaf->path; *at != '\0'; at++) {
    if (*at != '/') put(*at);
    else { put_literal(LITERAL("\":{\"")); depth++; }
  }
  put_literal(LITERAL("\":"));
  put_value(&leaf->value);
  for (; depth > 0u; depth--) put('}');
  put_count(ref, leaf->ref);
  end();
}

/* ---- What was sent and not acknowledged ---- */

static void drop_settled(void) {
  while ((hf.queue_length > 0u) && (point_at(0)->flight == (uint8_t)IDLE)) {
    hf.queue_first = (uint8_t)((hf.queue_first + 1u) % HF_QUEUE);
    hf.queue_length--;
  }
}

static void age(uint8_t *flight, bool is_lost) {
  if ((*flight == (uint8_t)OLD) || (is_lost && (*flight == (uint8_t)SENT))) *flight = DUE;
  else if (*flight == (uint8_t)SENT) *flight = OLD;
}

/* `is_lost`: whoever had it is gone, so all of it is due at once. */
static void age_all(bool is_lost) {
  for (uint8_t i = 0; i < hf.queue_length; i++) age(&point_at(i)->flight, is_lost);
  for (uint8_t i = 0; i <= hf.config->leaf_count; i++) age(&leaf_at(i)->flight, is_lost);
  age(&hf.get_flight, is_lost);
  age(&hf.time_flight, is_lost);
}

static bool take_due(uint8_t *flight) {
  if (*flight != (uint8_t)DUE) return false;
  *flight = SENT;
  return true;
}

static void say_one(void) {
  if (take_due(&hf.get_flight)) { say(LITERAL("get")); return; }
  if (take_due(&hf.time_flight)) { say(LITERAL("time")); return; }
  for (uint8_t i = 0; i <= hf.config->leaf_count; i++) {
    if (take_due(&leaf_at(i)->flight)) { say_leaf(leaf_at(i)); return; }
  }
  for (uint8_t i = 0; (i < hf.queue_length) && (i < HF_IN_FLIGHT); i++) {
    if (take_due(&point_at(i)->flight)) { say_point(i); return; }
  }
}

/* ---- What arrives ---- */

static bool is_literal(hf_slice slice, const char *text) {
  for (; (slice.length > 0u) && (FLASH_CHAR(text) == *slice.at); text++) { slice.at++; slice.length--; }
  return (slice.length == 0u) && (FLASH_CHAR(text) == '\0');
}

/* A member of the frame; without a length where there is none. */
static hf_slice field(const char *literal) {
  char name[16];
  uint8_t i = 0;
  hf_slice json = hf.frame;
  for (; (FLASH_CHAR(literal) != '\0') && (i < (sizeof name - 1u)); literal++) name[i++] = FLASH_CHAR(literal);
  name[i] = '\0';
  if (!find(&json, name)) json.length = 0;
  return json;
}

static hf_slice text_field(const char *literal) {
  const hf_slice json = field(literal);
  if ((json.length < 2u) || (*json.at != '"')) return slice_of(hf.line, hf.line);
  return slice_of(json.at + 1, json.at + json.length - 1);
}

static uint32_t count_of(hf_slice json) {
  uint32_t count = 0;
  for (; (json.length > 0u) && is_digit(*json.at); json.length--) count = (count * 10u) + (uint32_t)(*json.at++ - '0');
  return count;
}

/* Of epoch ms: seconds, and the last three digits. 64 bits cost a lot of flash. */
static uint32_t seconds_field(const char *literal, uint16_t *ms) {
  const hf_slice json = field(literal);
  const char *const last = json.at + json.length;
  const char *const cut = (json.length > 3u) ? (last - 3) : json.at;
  *ms = (uint16_t)count_of(slice_of(cut, last));
  return count_of(slice_of(json.at, cut));
}

static void seek(hf_state state, uint8_t after_s) {
  age_all(true);
  hf.state = (uint8_t)state;
  hf.hello_every_s = (after_s == 0u) ? 1u : after_s;
  hf.hello_s = (uint16_t)(now_s() + after_s);
}

static void take_clock(void) {
  const hf_slice trusted = field(LITERAL("trusted"));
  hf.epoch_s = seconds_field(ts, &hf.epoch_ms) - hf.uptime_s;
  hf.is_trusted = (trusted.length > 0u) && (*trusted.at == 't');
  hf.asked_s = now_s();
  hf.time_flight = IDLE;
  if (hf.config->on_time != NULL) hf.config->on_time(hf.config->user);
}

static void apply(void) {
  hf.version = count_of(field(LITERAL("version")));
  for (uint8_t i = 0; (i < hf.config->leaf_count) && (hf.config->on_delta != NULL); i++) {
    hf_leaf *const leaf = &hf.config->leaves[i];
    hf_value wanted;
    if (hf_find(field(LITERAL("state")), leaf->path, &wanted)) {
      hf.config->on_delta(hf.config->user, leaf, &wanted);
      leaf->flight = DUE;
    }
  }
}

/* The slot of a command, or one to take: whose answer arrived, or that has not come again for long. NULL: it will come again. */
static hf_slot *slot_of(uint32_t id) {
  hf_slot *best = NULL;
  uint16_t best_age = 0;
  for (hf_slot *slot = hf.slots; slot < &hf.slots[HF_COMMANDS]; slot++) {
    const uint16_t slot_age = (slot->use == (uint8_t)FREE) ? UINT16_MAX : since(slot->seen_s);
    if ((slot->use != (uint8_t)FREE) && (slot->id == id)) return slot;
    if (((slot->use != (uint8_t)ANSWERED) || (slot_age > SETTLED_S)) && (slot_age >= best_age)) {
      best = slot;
      best_age = slot_age;
    }
  }
  return best;
}

static void say_answer(const hf_slot *slot) {
  const char *status = LITERAL("rejected");
  if (slot->status == (uint8_t)HF_SUCCEEDED) status = LITERAL("succeeded");
  if (slot->status == (uint8_t)HF_FAILED) status = LITERAL("failed");
  if (slot->status == (uint8_t)HF_EXPIRED) status = LITERAL("expired");
  begin(LITERAL("response"));
  put_key(command_id);
  put_quoted(text_field(command_id));
  put_literal(LITERAL(",\"status\":\""));
  put_literal(status);
  put('"');
  put_key(((slot->result.kind == (uint8_t)HF_TEXT) && (slot->status != (uint8_t)HF_SUCCEEDED)) ? LITERAL("error") : LITERAL("result"));
  put_value(&slot->result);
  end();
}

static void obey(void) {
  const hf_config *const me = hf.config;
  const uint32_t id = crc_of(text_field(command_id));
  hf_slot *const slot = slot_of(id);
  uint32_t epoch_s;
  uint16_t ms;
  if (slot == NULL) return;
  slot->seen_s = now_s();
  if ((slot->use == (uint8_t)FREE) || (slot->id != id)) {
    slot->id = id;
    slot->result = hf_null();
    slot->status = HF_REJECTED;
    if (hf_time(&epoch_s) && (epoch_s > seconds_field(LITERAL("expires_at"), &ms))) slot->status = HF_EXPIRED;
    else if (me->on_command != NULL) {
      const uint8_t index = (uint8_t)(slot - hf.slots);
      slot->status = (uint8_t)me->on_command(me->user, index, text_field(LITERAL("type")), field(LITERAL("payload")), &slot->result);
    }
  }
  slot->use = ANSWERED;
  if (slot->status != (uint8_t)HF_LATER) say_answer(slot); /* else it comes again, and gets it then */
}

/* An acknowledgement, or word that it will never be taken: false when it is of nothing that is kept here. */
static bool settle(void) {
  const hf_slice point = field(seq);
  const hf_slice report = field(ref);
  if (point.length > 0u) {
    const uint32_t index = count_of(point) - (hf.seq - hf.queue_length);
    if (index < hf.queue_length) point_at((uint8_t)index)->flight = IDLE;
    drop_settled();
  } else if (report.length > 0u) {
    const uint16_t count = (uint16_t)count_of(report);
    for (uint8_t i = 0; i <= hf.config->leaf_count; i++) {
      hf_leaf *const leaf = leaf_at(i);
      if ((leaf->ref == count) && (leaf->flight != (uint8_t)DUE)) leaf->flight = IDLE;
    }
  } else if (field(command_id).length > 0u) {
    const uint32_t id = crc_of(text_field(command_id));
    hf_slot *const slot = slot_of(id);
    if ((slot != NULL) && (slot->id == id) && (slot->use == (uint8_t)ANSWERED)) slot->use = SETTLED;
  } else return field(job_id).length > 0u;
  return true;
}

static void refuse_job(void) {
  begin(LITERAL("job_status"));
  put_key(job_id);
  put_quoted(text_field(job_id));
  put_literal(LITERAL(",\"status\":\"rejected\""));
  end();
}

static void take_frame(hf_slice kind) {
  hf.heard_s = now_s();
  if (is_literal(kind, LITERAL("who"))) seek(HF_SEEKING, 0);
  else if (is_literal(kind, LITERAL("welcome"))) {
    if (!hf_is(text_field(LITERAL("boot")), hf.config->boot)) return; /* it is for the run before this one */
    hf.state = HF_ONLINE;
    hf.get_flight = DUE;
    for (uint8_t i = 0; i < HF_COMMANDS; i++) hf.slots[i].seen_s = hf.heard_s; /* nothing could come again while it was away */
    take_clock();
  } else if (is_literal(kind, LITERAL("nack"))) {
    if (settle()) return;
    /* It is for the hello. What is kept stays, for who takes it later. */
    seek(is_literal(text_field(LITERAL("code")), LITERAL("GATEWAY_FENCED")) ? HF_FENCED : HF_REFUSED, HELLO_MOST_S);
  } else if (is_literal(kind, LITERAL("bootloader"))) {
    if (hf.config->on_bootloader != NULL) hf.config->on_bootloader(hf.config->user);
  } else if (hf.state != (uint8_t)HF_ONLINE) return; /* it is not for this run of ours */
  else if (is_literal(kind, LITERAL("ack"))) (void)settle();
  else if (is_literal(kind, LITERAL("ping"))) say(LITERAL("pong"));
  else if (is_literal(kind, LITERAL("command"))) obey();
  else if (is_literal(kind, LITERAL("time"))) take_clock();
  else if (is_literal(kind, LITERAL("job"))) refuse_job();
  else if (is_literal(kind, LITERAL("desired"))) {
    hf.get_flight = IDLE;
    apply();
  } else if (is_literal(kind, LITERAL("delta")) && (count_of(field(LITERAL("version"))) >= hf.version)) apply(); /* lower is old */
}

/* Takes the suffix off the frame, if it is there and right. */
static bool take_checksum(void) {
  hf_length at = (hf_length)(hf.frame.length - CRC_DIGITS - 1u);
  if ((hf.frame.length <= (CRC_DIGITS + 1u)) || (hf.line[at] != '*')) return false;
  hf.frame.length = at;
  uint32_t crc = crc_of(hf.frame);
  for (uint8_t i = 0; i < CRC_DIGITS; i++) {
    if (hf.line[++at] != hex_digit(&crc)) return false;
  }
  return true;
}

void hf_receive(uint8_t byte) {
  if (byte != (uint8_t)'\n') {
    if (hf.is_discarding || ((hf.line_length == 0u) && (byte != (uint8_t)'{'))) return; /* noise */
    hf.is_discarding = hf.line_length == (HF_LINE_MAX - 1u);
    if (hf.is_discarding) hf.refused_lines++;
    else hf.line[hf.line_length++] = (char)byte;
    return;
  }
  const bool is_line = !hf.is_discarding && (hf.line_length > 0u);
  if (is_line && (hf.line[hf.line_length - 1u] == '\r')) hf.line_length--;
  hf.frame = slice_of(hf.line, &hf.line[hf.line_length]);
  hf.line_length = 0;
  hf.is_discarding = false;
  if (!is_line) return;
  const bool is_checked = take_checksum();
  const hf_slice kind = text_field(LITERAL("t"));
  if (is_checked || is_literal(kind, LITERAL("who"))) take_frame(kind); /* who asks was not promised anything yet */
  else hf.refused_lines++;
}

/* ---- What the sketch calls ---- */

void hf_open(const hf_config *config) {
  (void)memset(&hf, 0, sizeof hf);
  hf.config = config;
  hf.dropped.path = "dropped";
  hf.dropped.value = hf_number(0, 0);
  for (uint8_t i = 0; i <= config->leaf_count; i++) leaf_at(i)->flight = DUE;
  seek(HF_SEEKING, 0);
}

void hf_poll(void) {
  tick();
  if (hf.state != (uint8_t)HF_ONLINE) {
    if (since(hf.hello_s) > (UINT16_MAX / 2u)) return; /* not yet */
    hf.hello_s = (uint16_t)(now_s() + hf.hello_every_s);
    if (hf.hello_every_s < HELLO_MOST_S) hf.hello_every_s = (uint8_t)(hf.hello_every_s * 2u); /* nobody may be there for days */
    say_hello();
    return;
  }
  if (since(hf.aged_s) >= RESEND_S) { hf.aged_s = now_s(); age_all(false); }
  if (since(hf.asked_s) >= TIME_EVERY_S) { hf.asked_s = now_s(); hf.time_flight = DUE; }
  if (since(hf.heard_s) > SILENCE_S) seek(HF_SEEKING, 0);
  else say_one();
}

void hf_measure(const char *series, hf_value value) {
  if (hf.queue_length == HF_QUEUE) {
    point_at(0)->flight = IDLE;
    drop_settled();
    hf.dropped.value.as.number++;
    hf.dropped.flight = DUE;
  }
  hf_point *const point = point_at(hf.queue_length);
  tick();
  point->series = series;
  point->value = value;
  point->at_s = hf.uptime_s;
  point->flight = DUE;
  hf.queue_length++;
  hf.seq++;
}

void hf_report(hf_leaf *leaf, hf_value value) { leaf->value = value; leaf->flight = DUE; }

void hf_finish(uint8_t slot, hf_status status, hf_value result) {
  hf.slots[slot].status = (uint8_t)status;
  hf.slots[slot].result = result;
}
