/* A guest of one program: it dirties a working set of memory at a given rate and writes one byte on COM1 every 2 ms.
 *
 * Command line: "ws=<MiB that are written round and round> rate=<MiB dirtied a second, 0: as fast as it can>".
 * The bytes run from 'a' to 'z' and round again, so that whoever reads them sees one that is missing. */

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;

#define COM1 0x3f8
#define PIT_HZ 1193182
#define BEATS_PER_SECOND 500
#define PAGE 4096
#define WORKING_SET ((volatile u8 *)0x1000000) /* 16 MiB: above the program, below what the domain has */
#define TIMER_VECTOR 0x20

volatile u32 ticks;
void tick_entry(void);

static struct {
    u16 low, selector, flags, high;
} __attribute__((packed, aligned(8))) gates[TIMER_VECTOR + 1];

static inline void out(u16 port, u8 value) { __asm__ volatile("outb %0, %1" ::"a"(value), "Nd"(port)); }

static inline u8 in(u16 port) {
    u8 value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static void write_byte(u8 value) {
    while (!(in(COM1 + 5) & 0x20)) /* transmitter holding register empty */
        ;
    out(COM1, value);
}

static u32 option(const char *line, const char *name, u32 otherwise) {
    for (; *line; line++) {
        const char *a = line, *b = name;
        while (*b && *a == *b)
            a++, b++;
        if (!*b && *a >= '0' && *a <= '9') {
            u32 value = 0;
            while (*a >= '0' && *a <= '9')
                value = value * 10 + (u32)(*a++ - '0');
            return value;
        }
    }
    return otherwise;
}

static void start_timer(void) {
    u32 entry = (u32)tick_entry;
    gates[TIMER_VECTOR].low = (u16)entry;
    gates[TIMER_VECTOR].selector = 0x08;
    gates[TIMER_VECTOR].flags = 0x8e00; /* present, 32-bit interrupt gate */
    gates[TIMER_VECTOR].high = (u16)(entry >> 16);
    struct {
        u16 size;
        u32 base;
    } __attribute__((packed)) pointer = {sizeof gates - 1, (u32)gates};
    __asm__ volatile("lidt %0" ::"m"(pointer));
    out(0x20, 0x11), out(0x21, TIMER_VECTOR), out(0x21, 4), out(0x21, 1), out(0x21, 0xfe); /* first PIC: IRQ 0 alone */
    out(0xa1, 0xff);
    out(0x43, 0x34); /* channel 0, rate generator */
    out(0x40, (PIT_HZ / BEATS_PER_SECOND) & 0xff), out(0x40, (PIT_HZ / BEATS_PER_SECOND) >> 8);
    __asm__ volatile("sti");
}

void guest_main(const u32 *multiboot) {
    const char *line = multiboot[0] & 4 ? (const char *)multiboot[4] : "";
    u32 pages = option(line, "ws=", 64) * (1048576 / PAGE), rate = option(line, "rate=", 20);
    u32 per_beat = rate * (1048576 / PAGE) / BEATS_PER_SECOND, page = 0, seen = 0, value = 0;
    if (rate && !per_beat)
        per_beat = 1;
    start_timer();
    for (u8 beat = 'a';; beat = beat == 'z' ? 'a' : beat + 1) {
        u32 written = 0;
        while (seen == ticks) {
            if (rate) {
                __asm__ volatile("cli");
                if (seen == ticks)
                    __asm__ volatile("sti; hlt"); /* sti takes effect after hlt has begun: no tick is slept through */
                __asm__ volatile("sti");
                continue;
            }
            for (u32 i = 0; i < 64; i++, page = page + 1 < pages ? page + 1 : 0)
                *(volatile u32 *)(WORKING_SET + page * PAGE) = ++value;
        }
        seen = ticks;
        for (; written < per_beat; written++, page = page + 1 < pages ? page + 1 : 0)
            *(volatile u32 *)(WORKING_SET + page * PAGE) = ++value;
        write_byte(beat);
    }
}
