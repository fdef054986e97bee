/* The protocol's state, its frames, and a JSON reader that neither recurses nor copies. See holdfast.h. */
#include "holdfast.h"
#include <string.h>

#ifdef __AVR__ /* Constant text stays in flash: literals would take RAM, of which there is little. */
#include <avr/pgmspace.h>
#else
#define PROGMEM
#define PSTR(text) (text)
#define pgm_read_byte(at) (*(at))
#define strcpy_P strcpy
#endif

typedef char line_fits[((HF_LINE_MAX >= 96u) && (HF_LINE_MAX <= 4096u)) ? 1 : -1];
typedef char counts_fit[((HF_QUEUE <= 128u) && (HF_COMMANDS <= 128u)) ? 1 : -1];
#define RESEND_S 2u
#define SILENCE_S 60u /* a gateway that is there asks after 15 s of our silence */
#define TIME_EVERY_S 3600u
#define HELLO_MOST_S 63u
#define SETTLED_S 60u /* a command that was not answered comes again long before */
#define CRC_DIGITS 8u
#define NONE ((hf_slice){hf.line, 0})

enum { IDLE, DUE, OLD, SENT }; /* what waits for an answer: every RESEND_S, SENT becomes OLD and OLD becomes DUE */
hf_client hf;

/* ---- Values ---- */
static hf_slice slice_of(const char *from, const char *to) { return (hf_slice){from, (uint16_t)(to - from)}; }
static hf_value text_with(hf_kind kind, hf_slice text) { return (hf_value){(uint8_t)kind, 0, {.text = text}}; }
hf_value hf_null(void) { return (hf_value){HF_NULL, 0, {0}}; }
hf_value hf_bool(bool is_true) { return (hf_value){HF_BOOL, 0, {is_true ? 1 : 0}}; }
hf_value hf_text(const char *text) { return text_with(HF_TEXT, slice_of(text, text + strlen(text))); }
hf_value hf_number(int32_t number, uint8_t decimals) {
  return (hf_value){HF_NUMBER, (decimals > 9u) ? 9u : decimals, {number}};
}
bool hf_is(hf_slice slice, const char *text) {
  return (strlen(text) == slice.length) && (memcmp(slice.at, text, slice.length) == 0);
}

bool hf_scaled(const hf_value *value, uint8_t decimals, int32_t *number) {
  uint8_t at = value->decimals;
  *number = value->as.number;
  for (; at > decimals; at--) *number /= 10;
  for (; at < decimals; at++) {
    if ((*number > (INT32_MAX / 10)) || (*number < -(INT32_MAX / 10))) return false;
    *number *= 10;
  }
  return value->kind == HF_NUMBER;
}

bool hf_copy_text(const hf_value *value, char *to, uint16_t size) {
  const hf_slice text = (value->kind == HF_TEXT) ? value->as.text : NONE;
  uint16_t i = 0;
  for (; (i < text.length) && (size > 1u); size--) {
    if ((text.at[i] == '\\') && ((i + 1u) < text.length)) i++; /* of control characters the letter stays */
    *to++ = text.at[i++];
  }
  if (size > 0u) *to = '\0';
  return (value->kind == HF_TEXT) && (size > 0u) && (i >= text.length);
}

/* ---- JSON, read in place: what is none ends the reading, and reading never leaves the line ---- */
static bool is_digit(char c) { return (c >= '0') && (c <= '9'); }
static bool is_closing(char c) { return (c == '}') || (c == ']'); }
static bool is_gap(char c) { return (c == ' ') || (c == '\t') || (c == ',') || (c == ':') || is_closing(c); }

/* Takes the next value off the text, and what stands before it: all of the text where it has no end. */
static hf_slice take_value(hf_slice *text) {
  const char *const end = text->at + text->length;
  const char *at = text->at;
  uint16_t depth = 0;
  bool is_quoted = false;
  while ((at < end) && is_gap(*at)) at++;
  const char *const first = at;
  for (; (at < end) && (is_quoted || (depth > 0u) || !is_gap(*at)); at++) {
    if (*at == '"') is_quoted = !is_quoted;
    else if (is_quoted) at += ((*at == '\\') && ((at + 1) < end)) ? 1 : 0;
    else if ((*at == '{') || (*at == '[')) depth++;
    else if (is_closing(*at)) depth--;
  }
  *text = slice_of(at, end);
  return slice_of(first, at);
}

/* Goes down a path as "a/b" of an object; without a length where there is none. */
static hf_slice member(hf_slice json, const char *path) {
  while (*path != '\0') {
    hf_slice key, rest = {json.at + 1, (uint16_t)(json.length - 1u)};
    uint8_t length = 0;
    while ((path[length] != '\0') && (path[length] != '/')) length++;
    if ((json.length == 0u) || (*json.at != '{')) return NONE;
    do {
      key = take_value(&rest);
      json = take_value(&rest);
      if ((rest.length == 0u) || (*key.at != '"')) return NONE;
    } while ((key.length != (length + 2u)) || (memcmp(key.at + 1, path, length) != 0));
    path += (path[length] == '/') ? (length + 1u) : length;
  }
  return json;
}

static hf_value value_of(hf_slice json) {
  const char *const end = json.at + json.length;
  const char *at = json.at;
  const char first = (json.length == 0u) ? 'n' : *at;
  int32_t number = 0;
  uint8_t decimals = 0;
  bool has_point = false;
  if (first == 'n') return hf_null();
  if ((first == 't') || (first == 'f')) return hf_bool(first == 't');
  if (first == '"') return text_with(HF_TEXT, slice_of(at + 1, end - 1));
  if (first == '-') at++;
  for (; (at < end) && (is_digit(*at) || (*at == '.')) && (number < 100000000) && (decimals < 9u); at++) {
    if (has_point) decimals++;
    if (*at == '.') has_point = true;
    else number = (number * 10) + (*at - '0');
  }
  return (at < end) ? text_with(HF_OTHER, json) : hf_number((first == '-') ? -number : number, decimals);
}

bool hf_find(hf_slice json, const char *path, hf_value *found) {
  json = member(json, path);
  *found = value_of(json);
  return json.length > 0u;
}

/* ---- What leaves: byte by byte, its checksum reckoned as it goes ---- */
static uint32_t crc_add(uint32_t crc, char byte) {
  crc = ~crc ^ (uint8_t)byte;
  for (uint8_t bit = 0; bit < 8u; bit++) crc = ((crc & 1u) != 0u) ? ((crc >> 1) ^ 0xEDB88320u) : (crc >> 1);
  return ~crc;
}
static uint32_t crc_of(hf_slice slice) {
  uint32_t crc = 0;
  for (; slice.length > 0u; slice.length--) crc = crc_add(crc, *slice.at++);
  return crc;
}
static char take_leftmost_digit(uint32_t *crc) {
  const uint8_t digit = (uint8_t)((uint8_t)(*crc >> 24) >> 4);
  *crc <<= 4;
  return (char)((digit < 10u) ? ('0' + digit) : ('A' + (digit - 10)));
}

static void put(char byte) {
  hf.crc = crc_add(hf.crc, byte);
  hf.config->send(hf.config->user, (uint8_t)byte);
}
/* A ' leaves as a quote, which would need a backslash here. */
static void put_literal(const char *text) {
  for (char c = (char)pgm_read_byte(text); c != '\0'; c = (char)pgm_read_byte(++text)) put((c == '\'') ? '"' : c);
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

static void put_value(const hf_value *value) {
  const uint32_t number = (uint32_t)value->as.number;
  const bool is_negative = value->as.number < 0;
  if (value->kind == HF_TEXT) put_quoted(value->as.text);
  else if (value->kind == HF_BOOL) put_literal((number != 0u) ? PSTR("true") : PSTR("false"));
  else if (value->kind != HF_NUMBER) put_literal(PSTR("null"));
  else {
    if (is_negative) put('-');
    put_digits(is_negative ? (0u - number) : number, (uint8_t)(value->decimals + 1u), value->decimals);
  }
}
static void put_member(const char *key, hf_value value) {
  put_literal(key);
  put_value(&value);
}

static void end(void) {
  put('}');
  uint32_t crc = hf.crc;
  put('*');
  for (uint8_t i = 0; i < CRC_DIGITS; i++) put(take_leftmost_digit(&crc));
  put('\n');
  hf.crc = 0; /* of the next */
}

static void say_hello(void) {
  if (hf.hello_wait_s < HELLO_MOST_S) hf.hello_wait_s = (uint8_t)((hf.hello_wait_s * 2u) + 1u); /* it may take days */
  hf.config->send(hf.config->user, (uint8_t)'\n'); /* ends the noise of a reset */
  put_member(PSTR("{'t':'hello','id':"), hf_text(hf.config->id));
  put_member(PSTR(",'model':"), hf_text(hf.config->model));
  put_member(PSTR(",'version':"), hf_text(hf.config->version));
  put_member(PSTR(",'boot':"), hf_text(hf.config->boot));
  put_member(PSTR(",'v':1,'crc':32,'max_line':"), hf_number(HF_LINE_MAX, 0));
  end();
}

/* ---- What is kept until it is acknowledged ---- */
static uint32_t epoch_now_s(void) { return hf.epoch_s + hf.uptime_s; }
static uint16_t now_s(void) { return (uint16_t)hf.uptime_s; }
static uint16_t since(uint16_t then_s) { return (uint16_t)(now_s() - then_s); }
static bool has_passed(uint16_t *from_s, uint16_t wait_s) {
  if (since(*from_s) < wait_s) return false;
  *from_s = now_s();
  return true;
}
static uint32_t first_seq(void) { return hf.seq - hf.queue_length; }
static hf_point *point_at(uint8_t index) { return &hf.queue[(first_seq() + index) % HF_QUEUE]; }
static hf_leaf *leaf_at(uint8_t i) { return (i == hf.config->leaf_count) ? &hf.dropped : &hf.config->leaves[i]; }

static void tick(void) {
  const uint16_t now_ms = (uint16_t)hf.config->now_ms(hf.config->user);
  for (; (uint16_t)(now_ms - hf.ticked_ms) >= 1000u; hf.ticked_ms = (uint16_t)(hf.ticked_ms + 1000u)) hf.uptime_s++;
}

static void drop_settled(void) {
  while ((hf.queue_length > 0u) && (point_at(0)->flight == IDLE)) hf.queue_length--;
}
static void age(uint8_t *flight, bool is_lost) {
  if (*flight > DUE) *flight = is_lost ? DUE : (uint8_t)(*flight - 1u);
}

/* `is_lost`: whoever had it is gone, so all of it is due at once. */
static void age_all(bool is_lost) {
  for (uint8_t i = 0; i < hf.queue_length; i++) age(&point_at(i)->flight, is_lost);
  for (uint8_t i = 0; i <= hf.config->leaf_count; i++) age(&leaf_at(i)->flight, is_lost);
  age(&hf.get_flight, is_lost);
  age(&hf.time_flight, is_lost);
}

static bool begin_due(uint8_t *flight, const char *head) {
  if (*flight != DUE) return false;
  *flight = SENT;
  put_literal(head);
  return true;
}

static bool begin_leaf(hf_leaf *leaf) {
  uint8_t depth = 1;
  if (!begin_due(&leaf->flight, PSTR("{'t':'reported','state':{'"))) return false;
  for (const char *at = leaf->path; *at != '\0'; at++) {
    if (*at == '/') depth++;
    if (*at == '/') put_literal(PSTR("':{'"));
    else put(*at);
  }
  put_member(PSTR("':"), leaf->value);
  for (; depth > 0u; depth--) put('}');
  leaf->ref = ++hf.ref;
  put_member(PSTR(",'ref':"), hf_number(leaf->ref, 0));
  return true;
}

static bool begin_point(uint8_t index) {
  hf_point *const point = point_at(index);
  if (!begin_due(&point->flight, PSTR("{'t':'telemetry'"))) return false;
  put_member(PSTR(",'series':"), hf_text(point->series));
  put_member(PSTR(",'value':"), point->value);
  if (hf.is_trusted) {
    put_literal(PSTR(",'ts':"));
    put_digits(hf.epoch_s + point->at_s, 1, 0);
    put_digits(hf.epoch_ms, 3, 0);
  }
  put_literal(PSTR(",'seq':"));
  put_digits(first_seq() + index, 1, 0);
  return true;
}

static void say_one(void) {
  bool has_begun = begin_due(&hf.get_flight, PSTR("{'t':'get'")) || begin_due(&hf.time_flight, PSTR("{'t':'time'"));
  for (uint8_t i = 0; !has_begun && (i <= hf.config->leaf_count); i++) has_begun = begin_leaf(leaf_at(i));
  for (uint8_t i = 0; !has_begun && (i < hf.queue_length) && (i < HF_IN_FLIGHT); i++) has_begun = begin_point(i);
  if (has_begun) end();
}

/* ---- What arrives ---- */
static bool is_literal(hf_slice slice, const char *literal) {
  char text[16];
  return hf_is(slice, strcpy_P(text, literal));
}
/* A member of the frame; without a length where there is none. */
static hf_slice field(const char *literal) {
  char name[12];
  return member(hf.frame, strcpy_P(name, literal));
}
static hf_slice command_id(void) { return field(PSTR("command_id")); }
static hf_slice text_field(const char *literal) {
  const hf_value value = value_of(field(literal));
  return (value.kind == HF_TEXT) ? value.as.text : NONE;
}
static bool is_kind(const char *literal) { return is_literal(text_field(PSTR("t")), literal); }

/* Without its last digits: those of epoch ms are seconds, and 64 bits cost a lot of flash. */
static uint32_t count_of(hf_slice json, uint8_t last) {
  uint32_t count = 0;
  for (; (json.length > last) && is_digit(*json.at); json.length--) count = (count * 10u) + (uint8_t)(*json.at++ - '0');
  return count;
}

static void seek(hf_state state, uint8_t after_s) {
  age_all(true);
  hf.state = (uint8_t)state;
  hf.hello_s = now_s();
  hf.hello_wait_s = after_s;
}

static void take_clock(void) {
  const hf_slice now = field(PSTR("ts")), trusted = field(PSTR("trusted"));
  const uint32_t now_epoch_s = count_of(now, 3);
  hf.epoch_s = now_epoch_s - hf.uptime_s;
  hf.epoch_ms = (uint16_t)(count_of(now, 0) - ((uint16_t)now_epoch_s * 1000u)); /* all of it modulo 2^16 */
  hf.is_trusted = (trusted.length > 0u) && (*trusted.at == 't');
  hf.asked_s = now_s();
  hf.time_flight = IDLE;
  if (hf.config->on_time != NULL) hf.config->on_time(hf.config->user);
}

static void apply(void) {
  hf.version = count_of(field(PSTR("version")), 0);
  for (uint8_t i = 0; (i < hf.config->leaf_count) && (hf.config->on_delta != NULL); i++) {
    hf_leaf *const leaf = &hf.config->leaves[i];
    hf_value wanted;
    if (!hf_find(field(PSTR("state")), leaf->path, &wanted)) continue;
    hf.config->on_delta(hf.config->user, leaf, &wanted);
    leaf->flight = DUE;
  }
}

/* The slot of a command, or one to take: whose answer arrived, or that has not come again for long. NULL: later. */
static hf_slot *slot_of(uint32_t id) {
  hf_slot *oldest = NULL;
  for (hf_slot *slot = hf.slots; slot < &hf.slots[HF_COMMANDS]; slot++) {
    if (slot->id == id) return slot;
    if (slot->is_awaited && (since(slot->seen_s) <= SETTLED_S)) continue;
    if ((oldest == NULL) || (since(slot->seen_s) > since(oldest->seen_s))) oldest = slot;
  }
  return oldest;
}

static void say_answer(const hf_slot *slot) {
  if ((slot == NULL) || (slot->status == HF_LATER)) return; /* the command comes again, and gets it then */
  static const char statuses[][10] PROGMEM = {[HF_SUCCEEDED] = "succeeded", [HF_FAILED] = "failed",
                                              [HF_REJECTED] = "rejected", [HF_EXPIRED] = "expired"};
  const bool is_error = (slot->result.kind == HF_TEXT) && (slot->status != HF_SUCCEEDED);
  put_member(PSTR("{'t':'response','command_id':"), value_of(command_id()));
  put_literal(PSTR(",'status':'"));
  put_literal(statuses[(slot->status > HF_EXPIRED) ? HF_REJECTED : slot->status]);
  put_member(is_error ? PSTR("','error':") : PSTR("','result':"), slot->result);
  end();
}

static hf_slot *obey(void) {
  const uint32_t id = crc_of(command_id());
  hf_slot *const slot = slot_of(id);
  if (slot == NULL) return NULL;
  if (slot->id != id) {
    *slot = (hf_slot){.id = id, .result = hf_null(), .status = HF_REJECTED};
    if (hf.is_trusted && (epoch_now_s() > count_of(field(PSTR("expires_at")), 3))) slot->status = HF_EXPIRED;
    else if (hf.config->on_command != NULL) {
      slot->status = (uint8_t)hf.config->on_command(
        hf.config->user, (uint8_t)(slot - hf.slots), text_field(PSTR("type")), field(PSTR("payload")), &slot->result);
    }
  }
  slot->seen_s = now_s();
  slot->is_awaited = true;
  return slot;
}

/* An acknowledgement, or word that it will never be taken: false when it is of nothing that is kept here. */
static bool settle(void) {
  const uint32_t id = crc_of(command_id());
  hf_slot *const slot = slot_of(id);
  if ((slot != NULL) && (slot->id == id)) slot->is_awaited = false;
  const hf_slice point = field(PSTR("seq"));
  const uint32_t index = count_of(point, 0) - first_seq();
  if ((point.length > 0u) && (index < hf.queue_length)) point_at((uint8_t)index)->flight = IDLE;
  drop_settled();
  const hf_slice report = field(PSTR("ref"));
  for (uint8_t i = 0; (report.length > 0u) && (i <= hf.config->leaf_count); i++) {
    hf_leaf *const leaf = leaf_at(i);
    if ((leaf->ref == (uint16_t)count_of(report, 0)) && (leaf->flight != DUE)) leaf->flight = IDLE;
  }
  return (point.length + report.length + command_id().length + field(PSTR("job_id")).length) != 0;
}

static void take_frame(void) {
  hf.heard_s = now_s();
  if (is_kind(PSTR("who"))) seek(HF_SEEKING, 0);
  else if (is_kind(PSTR("bootloader")) && (hf.config->on_bootloader != NULL)) hf.config->on_bootloader(hf.config->user);
  else if (is_kind(PSTR("nack")) && !settle()) { /* of the hello: what is kept stays, for who takes it later */
    seek(is_literal(text_field(PSTR("code")), PSTR("GATEWAY_FENCED")) ? HF_FENCED : HF_REFUSED, HELLO_MOST_S);
  } else if (is_kind(PSTR("welcome")) && hf_is(text_field(PSTR("boot")), hf.config->boot)) { /* of this run */
    hf.state = HF_ONLINE;
    hf.get_flight = DUE;
    for (uint8_t i = 0; i < HF_COMMANDS; i++) hf.slots[i].seen_s = hf.heard_s; /* nothing came while it was away */
    take_clock();
  } else if (hf.state != HF_ONLINE) return; /* the rest is not for this run of ours */
  else if (is_kind(PSTR("ack"))) (void)settle();
  else if (is_kind(PSTR("command"))) say_answer(obey());
  else if (is_kind(PSTR("time"))) take_clock();
  else if (is_kind(PSTR("ping"))) {
    put_literal(PSTR("{'t':'pong'"));
    end();
  } else if (is_kind(PSTR("job"))) {
    put_member(PSTR("{'t':'job_status','job_id':"), value_of(field(PSTR("job_id"))));
    put_literal(PSTR(",'status':'rejected'"));
    end();
  } else if (is_kind(PSTR("desired"))) {
    hf.get_flight = IDLE;
    apply();
  } else if (is_kind(PSTR("delta")) && (count_of(field(PSTR("version")), 0) >= hf.version)) apply();
}

/* Takes the suffix off the frame, if it is there and right. */
static bool take_checksum(void) {
  const uint16_t length = (uint16_t)(hf.frame.length - CRC_DIGITS - 1u);
  uint8_t right = 0;
  if ((hf.frame.length <= (CRC_DIGITS + 1u)) || (hf.line[length] != '*')) return false;
  hf.frame.length = length;
  uint32_t crc = crc_of(hf.frame);
  while ((right < CRC_DIGITS) && (hf.line[length + 1u + right] == take_leftmost_digit(&crc))) right++;
  return right == CRC_DIGITS;
}

static void take_line(uint16_t length) {
  if (length == 0u) return;
  if (hf.line[length - 1u] == '\r') length--;
  hf.frame = slice_of(hf.line, &hf.line[length]);
  if (take_checksum() || is_kind(PSTR("who"))) take_frame(); /* who asks was not promised anything yet */
  else hf.refused_lines++;
}

void hf_receive(uint8_t byte) {
  if (byte == (uint8_t)'\n') {
    take_line(hf.line_length);
    hf.line_length = 0;
  } else if (hf.line_length == (HF_LINE_MAX - 1u)) hf.line[0] = ' '; /* overlong: refused when it ends */
  else if ((hf.line_length > 0u) || (byte == (uint8_t)'{')) hf.line[hf.line_length++] = (char)byte; /* else noise */
}

/* ---- What the sketch calls ---- */
void hf_open(const hf_config *config) {
  (void)memset(&hf, 0, sizeof hf);
  hf.config = config;
  hf.dropped.path = "dropped";
  hf.dropped.value = hf_number(0, 0);
  for (uint8_t i = 0; i <= config->leaf_count; i++) leaf_at(i)->flight = DUE;
}

void hf_poll(void) {
  tick();
  if (hf.state != HF_ONLINE) {
    if (has_passed(&hf.hello_s, hf.hello_wait_s)) say_hello();
  } else if (since(hf.heard_s) > SILENCE_S) seek(HF_SEEKING, 0);
  else {
    if (has_passed(&hf.aged_s, RESEND_S)) age_all(false);
    if (has_passed(&hf.asked_s, TIME_EVERY_S)) hf.time_flight = DUE;
    say_one();
  }
}

void hf_measure(const char *series, hf_value value) {
  if (hf.queue_length == HF_QUEUE) {
    hf.queue_length--;
    drop_settled();
    hf_report(&hf.dropped, hf_number(hf.dropped.value.as.number + 1, 0));
  }
  tick();
  *point_at(hf.queue_length) = (hf_point){series, value, hf.uptime_s, DUE};
  hf.queue_length++;
  hf.seq++;
}

void hf_report(hf_leaf *leaf, hf_value value) {
  leaf->value = value;
  leaf->flight = DUE;
}
void hf_finish(uint8_t slot, hf_status status, hf_value result) {
  hf.slots[slot].status = (uint8_t)status;
  hf.slots[slot].result = result;
}
bool hf_time(uint32_t *epoch_s) {
  *epoch_s = epoch_now_s();
  return hf.is_trusted;
}
