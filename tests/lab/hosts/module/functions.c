// SPDX-License-Identifier: GPL-2.0-only
/*
 * The PCI driver "nvidia": takes QEMU's NVMe controller with SR-IOV, physical and virtual functions, and gives them the
 * looks of an A100 PCIe 40GB. Nothing of the controller itself is used but its SR-IOV capability.
 */
#include <linux/delay.h>
#include <linux/module.h>
#include <linux/slab.h>
#include "vgpu.h"

#define QEMU_VENDOR 0x1b36
#define QEMU_NVME 0x0010
#define NVIDIA_VENDOR 0x10de
#define A100_PCIE_40GB 0x20f1
#define CLASS_3D_CONTROLLER 0x030200

static char *framework = "mdev";
module_param(framework, charp, 0444);
MODULE_PARM_DESC(framework, "mdev (needs nvidia-vgpu-vfio too) or vendor: how vGPUs are made");

unsigned int vgpu_create_delay_ms;
EXPORT_SYMBOL_GPL(vgpu_create_delay_ms);
module_param_named(create_delay_ms, vgpu_create_delay_ms, uint, 0644);
MODULE_PARM_DESC(create_delay_ms, "How much longer the making of a vGPU takes");

bool vgpu_migratable = true;
module_param_named(migratable, vgpu_migratable, bool, 0644);
MODULE_PARM_DESC(migratable, "Whether vGPUs that are made from now on can be live-migrated");

/* The framework and all functions; its lock is taken before vgpu_lock. */
static DEFINE_MUTEX(framework_lock);
static const struct vgpu_framework *current_framework;
static LIST_HEAD(functions);

bool vgpu_vendor_framework(void)
{
	return !strcmp(framework, "vendor");
}
EXPORT_SYMBOL_GPL(vgpu_vendor_framework);

static void drop_framework(struct vgpu_function *function)
{
	if (current_framework && function->framework)
		current_framework->remove(function);
	function->framework = NULL;
}

/* From now on vGPUs are made this way, on the functions that are there and on those that come. */
int vgpu_framework_register(const struct vgpu_framework *new_framework)
{
	struct vgpu_function *function;
	int error = 0;

	mutex_lock(&framework_lock);
	if (current_framework) {
		error = -EBUSY;
		goto out;
	}
	current_framework = new_framework;
	list_for_each_entry(function, &functions, node) {
		error = current_framework->add(function);
		if (error)
			break;
	}
	if (error) {
		list_for_each_entry(function, &functions, node)
			drop_framework(function);
		current_framework = NULL;
	}
out:
	mutex_unlock(&framework_lock);
	return error;
}
EXPORT_SYMBOL_GPL(vgpu_framework_register);

void vgpu_framework_unregister(void)
{
	struct vgpu_function *function;

	mutex_lock(&framework_lock);
	list_for_each_entry(function, &functions, node)
		drop_framework(function);
	current_framework = NULL;
	mutex_unlock(&framework_lock);
}
EXPORT_SYMBOL_GPL(vgpu_framework_unregister);

bool vgpu_any_open(struct vgpu_gpu *gpu)
{
	struct vgpu_function *function;
	bool open = false;

	mutex_lock(&framework_lock);
	mutex_lock(&vgpu_lock);
	list_for_each_entry(function, &functions, node)
		open |= function->gpu == gpu && function->open;
	mutex_unlock(&vgpu_lock);
	mutex_unlock(&framework_lock);
	return open;
}

static int add_gpu(struct pci_dev *pdev)
{
	struct vgpu_gpu *gpu, *other;
	int error;

	gpu = kzalloc(sizeof(*gpu), GFP_KERNEL);
	if (!gpu)
		return -ENOMEM;
	error = pci_enable_device_mem(pdev);
	if (error) {
		kfree(gpu);
		return error;
	}
	gpu->pdev = pdev;
	gpu->type = VGPU_NONE;
	mutex_lock(&vgpu_lock);
	list_for_each_entry(other, &vgpu_gpus, node)
		gpu->minor = max(gpu->minor, other->minor + 1);
	list_add_tail(&gpu->node, &vgpu_gpus);
	mutex_unlock(&vgpu_lock);
	pci_set_drvdata(pdev, gpu);
	vgpu_proc_add(gpu);
	/* udev read the card before it looked like one */
	kobject_uevent(&pdev->dev.kobj, KOBJ_CHANGE);
	return 0;
}

static int add_function(struct pci_dev *pdev)
{
	struct vgpu_function *function;
	int error = 0;

	function = kzalloc(sizeof(*function), GFP_KERNEL);
	if (!function)
		return -ENOMEM;
	function->pdev = pdev;
	function->gpu = pci_get_drvdata(pci_physfn(pdev));
	function->type = VGPU_NONE;
	if (!function->gpu) {
		kfree(function);
		return -ENODEV;
	}
	pci_set_drvdata(pdev, function);
	mutex_lock(&framework_lock);
	list_add_tail(&function->node, &functions);
	if (current_framework)
		error = current_framework->add(function);
	if (error)
		list_del(&function->node);
	mutex_unlock(&framework_lock);
	if (error)
		kfree(function);
	return error;
}

static void dress_up(struct pci_dev *pdev)
{
	pdev->vendor = NVIDIA_VENDOR;
	pdev->device = A100_PCIE_40GB;
	pdev->class = CLASS_3D_CONTROLLER;
	pdev->revision = 0xa1;
}

static int probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	dress_up(pdev);
	return pdev->is_virtfn ? add_function(pdev) : add_gpu(pdev);
}

static void remove(struct pci_dev *pdev)
{
	if (pdev->is_virtfn) {
		struct vgpu_function *function = pci_get_drvdata(pdev);

		mutex_lock(&framework_lock);
		list_del(&function->node);
		drop_framework(function);
		mutex_unlock(&framework_lock);
		kfree(function);
	} else {
		struct vgpu_gpu *gpu = pci_get_drvdata(pdev);

		pci_disable_sriov(pdev);
		vgpu_proc_remove(gpu);
		mutex_lock(&vgpu_lock);
		list_del(&gpu->node);
		mutex_unlock(&vgpu_lock);
		pci_disable_device(pdev);
		kfree(gpu);
	}
}

/* Switching off is refused while a virtual machine runs on one of the functions: the kernel would wait for its end. */
static int sriov_configure(struct pci_dev *pdev, int count)
{
	int error;

	if (count) {
		error = pci_enable_sriov(pdev, count);
		return error ? error : count;
	}
	if (vgpu_any_open(pci_get_drvdata(pdev)))
		return -EBUSY;
	pci_disable_sriov(pdev);
	return 0;
}

static const struct pci_device_id ids[] = {
	{ PCI_DEVICE(QEMU_VENDOR, QEMU_NVME) },
	{ PCI_DEVICE(NVIDIA_VENDOR, A100_PCIE_40GB) },
	{ }
};
MODULE_DEVICE_TABLE(pci, ids);

static struct pci_driver driver = {
	.name = "nvidia",
	.id_table = ids,
	.probe = probe,
	.remove = remove,
	.sriov_configure = sriov_configure,
	.dev_groups = vgpu_vendor_groups,
};

/* A virtual function of ours gets its looks before anyone is told of it, so udev never sees the controller. */
static int on_bus(struct notifier_block *block, unsigned long action, void *data)
{
	struct pci_dev *pdev = to_pci_dev(data);

	if (action == BUS_NOTIFY_ADD_DEVICE && pdev->is_virtfn && pci_physfn(pdev)->driver == &driver)
		dress_up(pdev);
	return NOTIFY_DONE;
}

static struct notifier_block bus_notifier = { .notifier_call = on_bus };

static int __init start(void)
{
	int error;

	if (strcmp(framework, "mdev") && !vgpu_vendor_framework()) {
		pr_err("nvidia: framework is mdev or vendor\n");
		return -EINVAL;
	}
	error = vgpu_proc_init();
	if (error)
		return error;
	if (vgpu_vendor_framework())
		vgpu_framework_register(&vgpu_vendor);
	bus_register_notifier(&pci_bus_type, &bus_notifier);
	error = pci_register_driver(&driver);
	if (error) {
		bus_unregister_notifier(&pci_bus_type, &bus_notifier);
		vgpu_proc_exit();
	}
	return error;
}

static void __exit stop(void)
{
	pci_unregister_driver(&driver);
	bus_unregister_notifier(&pci_bus_type, &bus_notifier);
	vgpu_proc_exit();
}

module_init(start);
module_exit(stop);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Stands in for NVIDIA's vGPU manager in a test lab, on QEMU's NVMe controller with SR-IOV");
MODULE_VERSION(VGPU_DRIVER_VERSION);
