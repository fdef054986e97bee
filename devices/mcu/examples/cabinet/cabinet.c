/*
 * A cabinet on an Arduino Uno (ATmega328P, 16 MHz): a sensor, a relay, a door switch.
 *
 * A0  voltage, measured every `interval_s` seconds     D8  relay, the leaf `relay`
 * D2  door switch to ground, the leaf `door_open`      D13 LED: on while online, blinks on the command `blink`
 */
#include <avr/eeprom.h>
#include <avr/interrupt.h>
#include <avr/io.h>
#include <avr/wdt.h>

#include "holdfast.h"

#ifndef VERSION
#define VERSION "1.0.0"
#endif
#ifndef DEVICE
#define DEVICE "cabinet-1"
#endif

#ifdef MEASURE_STACK /* for the command `stack`: RAM above the variables is painted before anything runs */
extern uint8_t _end;
void paint(void) __attribute__((naked, used, section(".init3")));
void paint(void) {
  for (uint8_t *at = &_end; at < (uint8_t *)RAMEND; at++) *at = 0xA5;
}
#endif

#define RING_SIZE 128u /* a power of two; the interrupt fills it while a frame is sent, 87 us a byte */

static volatile uint8_t ring[RING_SIZE];
static volatile uint8_t ring_in;
static uint8_t ring_out;
static volatile uint32_t ticks_ms;
static char boot[9];
static uint16_t measured_s;
static uint8_t blinked;
static uint8_t blinks;
static bool is_restarting;

enum { RELAY, INTERVAL, DOOR, LEAVES };
static hf_leaf leaves[LEAVES];

/* A full ring loses the byte: its line fails its checksum, and comes again. */
ISR(USART_RX_vect) {
  const uint8_t byte = UDR0;
  const uint8_t next = (uint8_t)((ring_in + 1u) % RING_SIZE);
  if (next != ring_out) {
    ring[ring_in] = byte;
    ring_in = next;
  }
}

ISR(TIMER0_COMPA_vect) { ticks_ms++; }

static uint32_t now_ms(void *user) {
  (void)user;
  const uint8_t flags = SREG;
  cli();
  const uint32_t now = ticks_ms;
  SREG = flags;
  return now;
}

static void send(void *user, uint8_t byte) {
  (void)user;
  while ((UCSR0A & (1u << UDRE0)) == 0u) {
  }
  UDR0 = byte;
}

static void set_relay(bool is_on) {
  if (is_on) PORTB |= (1u << PORTB0);
  else PORTB &= (uint8_t)~(1u << PORTB0);
}

/* What is refused is reported as it is: the site sees that it did not happen. */
static void on_delta(void *user, hf_leaf *leaf, const hf_value *wanted) {
  (void)user;
  if ((leaf == &leaves[RELAY]) && (wanted->kind == HF_BOOL)) {
    set_relay(wanted->as.number != 0);
    leaf->value = *wanted;
  } else if ((leaf == &leaves[INTERVAL]) && (wanted->kind == HF_NUMBER) && (wanted->decimals == 0u) &&
             (wanted->as.number >= 1) && (wanted->as.number <= 3600)) {
    leaf->value = *wanted;
  }
}

static hf_status on_command(void *user, uint8_t slot, hf_slice type, hf_slice payload, hf_value *result) {
  (void)user;
  (void)slot;
  if (hf_is(type, "blink")) {
    hf_value times;
    blinks = (hf_find(payload, "times", &times) && (times.kind == HF_NUMBER)) ? (uint8_t)(times.as.number * 2) : 6u;
    *result = hf_number(blinks / 2, 0);
    return HF_SUCCEEDED;
  }
  if (hf_is(type, "restart")) {
    is_restarting = true; /* once the answer has left */
    return HF_SUCCEEDED;
  }
#ifdef MEASURE_STACK
  if (hf_is(type, "stack")) {
    const uint8_t *at = &_end;
    while (*at == 0xA5u) at++;
    *result = hf_number((int32_t)(RAMEND + 1u - (uint16_t)at), 0);
    return HF_SUCCEEDED;
  }
#endif
  return HF_REJECTED;
}

static const hf_config config = {
  .id = DEVICE, .model = "cabinet", .version = VERSION, .boot = boot, .leaves = leaves, .leaf_count = LEAVES,
  .send = send, .now_ms = now_ms, .on_delta = on_delta, .on_command = on_command
};

/* Another text after each start: how many there were. */
static void count_boot(void) {
  uint32_t *const counter = (uint32_t *)4; /* the first bytes are those that a brown-out hits */
  uint32_t count = eeprom_read_dword(counter) + 1u;
  eeprom_update_dword(counter, count);
  for (uint8_t i = 0; i < 8u; i++) {
    boot[i] = (char)('A' + (uint8_t)(count >> 28));
    count <<= 4;
  }
}

static void open_board(void) {
  wdt_disable();
  DDRB = (1u << DDB0) | (1u << DDB5);
  PORTD = (1u << PORTD2);
  UBRR0 = 16; /* 115,200 baud at 16 MHz and double speed */
  UCSR0A = (1u << U2X0);
  UCSR0B = (1u << RXCIE0) | (1u << RXEN0) | (1u << TXEN0);
  UCSR0C = (1u << UCSZ01) | (1u << UCSZ00);
  TCCR0A = (1u << WGM01); /* a tick a millisecond */
  TCCR0B = (1u << CS01) | (1u << CS00);
  OCR0A = 249;
  TIMSK0 = (1u << OCIE0A);
  ADMUX = (1u << REFS0);
  ADCSRA = (1u << ADEN) | (1u << ADPS2) | (1u << ADPS1) | (1u << ADPS0);
}

static void measure(void) {
  const uint16_t now_s = (uint16_t)hf.uptime_s;
  if ((uint16_t)(now_s - measured_s) < (uint16_t)leaves[INTERVAL].value.as.number) return;
  measured_s = now_s;
  ADCSRA |= (1u << ADSC);
  while ((ADCSRA & (1u << ADSC)) != 0u) {
  }
  hf_measure("voltage", hf_number(((int32_t)ADC * 625) >> 7, 3)); /* 5 V are 1024 */
}

static void look_at_door(void) {
  const bool is_open = (PIND & (1u << PIND2)) != 0u;
  if (is_open != (leaves[DOOR].value.as.number != 0)) hf_report(&leaves[DOOR], hf_bool(is_open));
}

static void show(void) {
  const uint8_t now = (uint8_t)(now_ms(NULL) >> 7);
  if (now == blinked) return;
  blinked = now;
  if (blinks > 0u) {
    blinks--;
    PORTB ^= (1u << PORTB5);
  } else if (hf.state == HF_ONLINE) PORTB |= (1u << PORTB5);
  else PORTB &= (uint8_t)~(1u << PORTB5);
}

int main(void) {
  open_board();
  count_boot();
  leaves[RELAY].path = "relay";
  leaves[RELAY].value = hf_bool(false);
  leaves[INTERVAL].path = "interval_s";
  leaves[INTERVAL].value = hf_number(2, 0);
  leaves[DOOR].path = "door_open";
  leaves[DOOR].value = hf_bool(false);
  hf_open(&config);
  sei();
  for (;;) {
    while (ring_out != ring_in) {
      const uint8_t byte = ring[ring_out];
      ring_out = (uint8_t)((ring_out + 1u) % RING_SIZE);
      hf_receive(byte);
    }
    hf_poll();
    measure();
    look_at_door();
    show();
    if (is_restarting) {
      wdt_enable(WDTO_15MS);
      for (;;) {
      }
    }
  }
}
