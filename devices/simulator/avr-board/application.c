/*
 * An application for the simulated AVR board, as small as one can be that a gateway knows: it says hello four times a second and, told so,
 * goes to the boot loader. What it is a device of is decided when it is compiled: -DDEVICE, -DVERSION, -DBAUD, -DLOADER_START (a byte
 * address), -DFILLER (a file that makes it as large as the real ones).
 */
#include <avr/interrupt.h>
#include <avr/io.h>
#include <avr/pgmspace.h>
#include <stdint.h>

#define TEXT_OF(name) #name
#define TEXT(name) TEXT_OF(name)

#ifdef FILLER
__asm__(".section .progmem.data\n.global filler\nfiller: .incbin " TEXT(TEXT(FILLER)) "\n.text");
extern const uint8_t filler[];
#endif

static const char hello[] PROGMEM = "\n{\"t\":\"hello\",\"id\":\"" TEXT(DEVICE) "\",\"model\":\"avr-board\",\"version\":\"" TEXT(VERSION) "\",\"boot\":\"1\"}\n";
static const char asked[] PROGMEM = "{\"t\":\"bootloader\"}";

static void send(const char *text) {
  for (char next; (next = (char)pgm_read_byte(text)) != 0; text++) {
    while (!(UCSR0A & (1 << UDRE0))) continue;
    UDR0 = (uint8_t)next;
  }
}

/* By a jump, since loaders start the application again after a watchdog's reset; and with every register that they rely on as after one. */
static void go_to_loader(void) {
  cli();
  UCSR0B = 0;
  UCSR0A = 0;
  UBRR0 = 0;
  TCCR1B = 0;
#ifdef EIND
  EIND = (LOADER_START / 2) >> 16;
#endif
  __asm__ volatile("ijmp" ::"z"((uint16_t)(LOADER_START / 2)));
}

int main(void) {
  UCSR0A = 1 << U2X0;
  UBRR0 = (F_CPU + BAUD * 4) / (BAUD * 8) - 1;
  UCSR0B = (1 << RXEN0) | (1 << TXEN0);
  TCCR1B = (1 << CS12); /* a 256th */
  TCNT1 = 0;
#ifdef FILLER
  GPIOR0 = pgm_read_byte(filler);
#endif
  send(hello);
  for (uint8_t matched = 0;;) {
    if (TCNT1 > F_CPU / 256 / 4) {
      TCNT1 = 0;
      send(hello);
    }
    if (!(UCSR0A & (1 << RXC0))) continue;
    char byte = (char)UDR0;
    /* At the end of its line: what comes of it after that would be the loader's. */
    if (matched == sizeof asked - 1 && byte == '\n') go_to_loader();
    if (matched == sizeof asked - 1 && byte != '{') continue;
    matched = byte == (char)pgm_read_byte(asked + matched) ? matched + 1 : byte == '{';
  }
}
