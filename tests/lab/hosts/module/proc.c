// SPDX-License-Identifier: GPL-2.0-only
/* /proc/driver/nvidia: the driver's version, and the model of each GPU. */
#include <linux/proc_fs.h>
#include <linux/seq_file.h>
#include "vgpu.h"

static struct proc_dir_entry *root, *gpus;

static int show_version(struct seq_file *file, void *unused)
{
	seq_printf(file, "NVRM version: NVIDIA UNIX x86_64 Kernel Module  %s  (a stand-in for tests)\n", VGPU_DRIVER_VERSION);
	seq_puts(file, "GCC version:  " CONFIG_CC_VERSION_TEXT "\n");
	return 0;
}

static int show_gpu(struct seq_file *file, void *unused)
{
	const struct vgpu_gpu *gpu = file->private;

	seq_puts(file, "Model: \t\t NVIDIA A100-PCIE-40GB\n");
	seq_printf(file, "IRQ:   \t\t %u\n", gpu->pdev->irq);
	seq_puts(file, "Bus Type: \t PCIe\n");
	seq_printf(file, "Bus Location: \t %s\n", pci_name(gpu->pdev));
	seq_printf(file, "Device Minor: \t %u\n", gpu->minor);
	return 0;
}

int vgpu_proc_init(void)
{
	root = proc_mkdir("driver/nvidia", NULL);
	if (!root)
		return -ENOMEM;
	proc_create_single("version", 0444, root, show_version);
	gpus = proc_mkdir("gpus", root);
	if (!gpus) {
		vgpu_proc_exit();
		return -ENOMEM;
	}
	return 0;
}

void vgpu_proc_exit(void)
{
	proc_remove(root);
	root = NULL;
}

void vgpu_proc_add(struct vgpu_gpu *gpu)
{
	gpu->proc = proc_mkdir(pci_name(gpu->pdev), gpus);
	if (gpu->proc)
		proc_create_single_data("information", 0444, gpu->proc, show_gpu, gpu);
}

void vgpu_proc_remove(struct vgpu_gpu *gpu)
{
	proc_remove(gpu->proc);
}
